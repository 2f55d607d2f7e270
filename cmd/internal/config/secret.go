package config

import "encoding/json"

// Secret is one secret to rotate.
type Secret struct {
	// Name that applications know the secret by, such as
	// TRADEPULSE_AUDIT_SECRET_ID.
	ID string `json:"id" jsonschema:"required,format=secret-id"`
	// The store's own name for it. Without it the id.
	Path string `json:"path,omitzero" jsonschema:"format=secret-id"`
	// Where its values have to be valid besides the store. Without it nowhere.
	Target SecretTarget `json:"target,omitzero"`
	// What it is for, in a few words. An auditor reads it.
	Purpose string `json:"purpose,omitzero" jsonschema:"minLength=1,maxLength=256"`
	Settings
}

// Settings are what a secret and the defaults can both say.
type Settings struct {
	// Name of the store that holds it. Without it the only store there is.
	Store string `json:"store,omitzero" jsonschema:"format=token"`
	// Person or team that answers for it.
	Owner string `json:"owner,omitzero" jsonschema:"minLength=1,maxLength=256"`
	// Where to reach the owner: an address, a channel, a phone number.
	Contact string `json:"contact,omitzero" jsonschema:"minLength=1,maxLength=256"`
	// Lifetime of a version. none, or no setting at all, takes the lifetime
	// that the store records; a secret with neither is rotated by hand only.
	TTL DurationOrNone `json:"ttl,omitzero"`
	// More than this has to be left of a version's life when rotator policy check
	// looks at it. Without it 1h for TRADEPULSE_AUDIT_SECRET_ID, 30m for
	// TRADEPULSE_ADMIN_TOKEN_ID, and none for others.
	MinTTL DurationOrNone `json:"min_ttl,omitzero"`
	// How long before its end a version is replaced.
	RefreshMargin DurationOrNone `json:"refresh_margin,omitzero" default:"5m"`
	// How much earlier than that it may be replaced, to spread secrets that
	// were made together. Without it a tenth of what is left of the lifetime
	// after the margin.
	MaxJitter DurationOrNone `json:"max_jitter,omitzero"`
	// The only times at which a scheduled rotation may start. Without any it
	// may start at any time.
	Windows []Window `json:"windows,omitzero" jsonschema:"maxItems=100"`
	// Who rotates: generate makes a value and writes it, external triggers the
	// rotation that is configured in AWS Secrets Manager and follows it.
	Strategy string `json:"strategy,omitzero" default:"generate" jsonschema:"enum=generate,enum=external"`
	// What a value has to look like: the name of a policy, or a policy itself.
	// Without it at least 16 characters with upper case, lower case, digits and
	// symbols; generated values have 32.
	Policy *PolicyRef `json:"policy,omitzero"`
	// Services that have to run a new version before the old one is retired: the
	// name of each, or the name with settings that win over those of services.
	// Instances that report the secret without being listed count as well.
	Services []ServiceRef `json:"services,omitzero" jsonschema:"uniqueItems=true,maxItems=1000"`
	// Users of the secret that have no client. Each keeps the previous version until
	// it is confirmed.
	Consumers []Consumer `json:"consumers,omitzero" jsonschema:"uniqueItems=true,maxItems=1000"`
	// What becomes of previous versions of a secret without services and consumers,
	// while no instance reports it: hold keeps them, retire-after-grace retires them
	// by time alone, and status answers unknown then. Without it hold, with a warning.
	NoSubscribers string `json:"no_subscribers,omitzero" jsonschema:"enum=hold,enum=retire-after-grace"`
	// Fleets of which a live instance has to use the secret, so that one that is cut
	// off is noticed. Instances say their fleet with ROTATOR_FLEET.
	Fleets []string `json:"fleets,omitzero" jsonschema:"format=token,uniqueItems=true,maxItems=100"`
	// When a new version starts to be used: activate promotes it and tells the
	// services, prepare-then-activate lets every instance load it for
	// verification before anyone signs with it.
	Rollout string `json:"rollout,omitzero" default:"activate" jsonschema:"enum=activate,enum=prepare-then-activate"`
	// How long the previous version is kept after every instance runs the new
	// one.
	Grace DurationOrNone `json:"grace,omitzero" default:"5m"`
	// How long a rollout may take before it counts as stalled and alerts.
	Deadline DurationOrNone `json:"deadline,omitzero" default:"15m"`
	// How long an instance may use a version that it can confirm neither with the
	// bus nor with the store; no version is retired sooner after its successor was
	// promoted. Without it 1h, and at most a quarter of the TTL.
	Fence Duration `json:"fence,omitzero"`
	// What becomes of the value of a retired version: delete removes it in the
	// way that the store can undo, keep leaves it readable by its version id,
	// destroy removes it for good.
	Retire string `json:"retire,omitzero" default:"delete" jsonschema:"enum=delete,enum=keep,enum=destroy"`
	// Whether a rotation may make the secret when the store does not know it
	// yet. Leave it off where a misspelt path must not become a new secret.
	Create *bool `json:"create,omitzero" default:"false"`
	// Stops scheduled rotation; by hand it still works.
	Disabled *bool `json:"disabled,omitzero" default:"false"`
}

// Window is a recurring time in which scheduled rotations may start.
type Window struct {
	// When it opens: minute, hour, day of month, month and day of week.
	Cron string `json:"cron" jsonschema:"required,minLength=1,maxLength=256"`
	// Time zone of cron, by its IANA name such as Europe/Vienna.
	Zone string `json:"zone,omitzero" default:"UTC" jsonschema:"minLength=1,maxLength=64"`
	// How long it stays open.
	Duration Duration `json:"duration" jsonschema:"required"`
}

// PolicyRef is a policy by name, or one in place.
type PolicyRef struct {
	// Name is a key of policies; "" when Policy is set.
	Name string
	// Policy is the policy in place; nil when Name is set.
	Policy *Policy
}

// UnmarshalJSON decodes a string as a name and anything else as a policy.
func (p *PolicyRef) UnmarshalJSON(b []byte) error {
	*p = PolicyRef{}
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &p.Name)
	}
	return json.Unmarshal(b, &p.Policy)
}

// MarshalJSON is the inverse of UnmarshalJSON.
func (p PolicyRef) MarshalJSON() ([]byte, error) {
	if p.Policy != nil {
		return json.Marshal(p.Policy)
	}
	return json.Marshal(p.Name)
}
