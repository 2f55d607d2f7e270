package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
	"github.com/tradepulse/rotator/pkg/target/postgres"
)

// Target is one place where values have to be valid. Its type decides what other keys
// it has.
type Target struct {
	// Options is what the type has to be told: [*Postgres], [*MySQL], [*Valkey],
	// [*AWSIAM] or [*Hook].
	Options TargetOptions
}

// TargetOptions are the settings of one type of target.
type TargetOptions interface {
	// Type is the word for it in the configuration.
	Type() string
	// policy returns the policy of a secret that has one, nil for the default.
	policy(of *secret.Policy) *secret.Policy
	// blind reports whether the target cannot tell who uses a value of an account.
	blind(of SecretTarget) bool
	// check reports what the schema cannot see of the target at a location.
	check(k *checker, at []string)
	// checkSecret reports what the schema cannot see of the target of a secret at a
	// location.
	checkSecret(k *checker, at []string, s Secret)
}

// SecretTarget says which account of a target has the values of a secret.
type SecretTarget struct {
	// Name of the target.
	Name string `json:"name" jsonschema:"required,format=token"`
	// Account whose value is rotated; with the alternating strategy the first of the
	// pair, USER and USER_clone.
	User string `json:"user,omitzero" jsonschema:"minLength=1,maxLength=256"`
	// Role that both accounts of a pair become at login. Without it USER_owner.
	Owner string `json:"owner,omitzero" jsonschema:"minLength=1,maxLength=63"`
	// How many accounts there are: two in turns (alternating), so that the old value
	// works until no service uses it, or one (single), whose old value fails at once.
	// Without it alternating where the target knows that.
	Strategy string `json:"strategy,omitzero" jsonschema:"enum=alternating,enum=single"`
	// What becomes of sessions with the old value that are open at drain_deadline: an
	// alert (wait), the end of those that are idle (end-idle), or of all (end-all).
	// Without it wait. The old value is not revoked before they are gone.
	Drain string `json:"drain,omitzero" jsonschema:"enum=wait,enum=end-idle,enum=end-all"`
	// Counts from the end of the grace period. Without it 1h.
	DrainDeadline Duration `json:"drain_deadline,omitzero"`
	// How long the old value is suspended before it is revoked: it is refused, and comes
	// back if a client is seen to need it. Without it the grace period; none revokes
	// at once.
	Soak DurationOrNone `json:"soak,omitzero"`
}

// Postgres is a PostgreSQL server, version 14 or later, whose roles are rotated.
type Postgres struct {
	// Servers: the primary, and replicas on which a new value has to work as well.
	Endpoints []string `json:"endpoints" jsonschema:"required,format=address,minItems=1,maxItems=100,uniqueItems=true"`
	// Secret with the login of a role that may change the others: a JSON document
	// with username and password, listed under secrets.
	Admin string `json:"admin" jsonschema:"required,format=secret-id"`
	// Database where the admin logs in.
	Database string `json:"database,omitzero" default:"postgres" jsonschema:"minLength=1,maxLength=63"`
	// Files for TLS. Connections use TLS 1.3 and check the server's certificate,
	// with or without this section.
	TLS settings.TLS `json:"tls,omitzero"`
	// Connects without TLS.
	Plaintext bool `json:"plaintext,omitzero"`
	// Services connect through a pooler such as PgBouncer. Who is logged in is
	// unknown then, and nothing is retired by the target's word.
	Pooler bool `json:"pooler,omitzero"`
	// How long a change may take to reach the replicas.
	Lag Duration `json:"lag,omitzero" default:"10s"`
}

// Type returns postgres.
func (*Postgres) Type() string { return "postgres" }

// loginField is the field of a login document that is rotated.
const loginField = "/password"

// loginPolicy is about the password of a login document.
func loginPolicy(of *secret.Policy) *secret.Policy {
	out := secret.DefaultPolicy()
	if of != nil {
		out = *of
	}
	out.Field = loginField
	return &out
}

func (o *Postgres) blind(SecretTarget) bool { return o.Pooler }

func (*Postgres) policy(of *secret.Policy) *secret.Policy { return loginPolicy(of) }

func (o *Postgres) check(k *checker, at []string) {
	k.transport(at, o.TLS, o.Plaintext, o.Endpoints)
	k.admin(append(at, "admin"), o.Admin)
}

func (o *Postgres) checkSecret(k *checker, at []string, s Secret) {
	t := s.Target
	if !k.login(at, s) {
		return
	}
	if err := postgres.CheckNames(t.User, t.Owner, postgres.Strategy(t.Strategy)); err != nil {
		k.report(append(at, "user"), err.Error(), "choose another name")
	}
	if t.Strategy == string(postgres.Single) {
		k.withoutOverlap(append(at, "strategy"), s)
	}
}

// withoutOverlap refuses what needs two valid values at a time. At is the setting that
// rules them out.
func (k *checker) withoutOverlap(at []string, s Secret) {
	if s.Rollout == string(secret.RolloutPrepare) {
		k.report(at, "it has no overlap: the old value fails as soon as the new one is applied, and prepare-then-activate waits for every instance in between",
			"use one with an overlap, such as alternating, or rollout: activate")
	}
	if len(s.Services)+len(s.Consumers) > 0 {
		k.warn(at, "it has no overlap: logins of a service fail between the change and its reload", "use one with an overlap, such as alternating")
	}
}

// transport checks how the servers of a target are reached.
func (k *checker) transport(at []string, t settings.TLS, plain bool, addresses []string) {
	if err := t.Validate(); err != nil && k.whole(append(at, "tls")...) {
		k.contradiction(append(at, "tls"), err)
	}
	if plain && t != (settings.TLS{}) {
		k.report(append(at, "plaintext"), "it excludes tls", "remove one of them")
	}
	if plain && slices.ContainsFunc(addresses, remote) {
		k.warn(append(at, "plaintext"), "statements cross the network in the clear", "remove it, and have the server use TLS")
	}
}

// remote reports whether an address is one of another host.
func remote(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "localhost" {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}

// admin checks that a secret can be the login of a target: it is listed, and a
// rotation makes its next value valid.
func (k *checker) admin(at []string, id string) {
	if id == "" || k.refused("secrets") {
		return
	}
	i := slices.IndexFunc(k.cfg.Secrets, func(s Secret) bool { return s.ID == id })
	switch {
	case i < 0:
		k.report(at, "there is no secret "+quote(id), "list it under secrets, with the store that has it")
	case k.cfg.Secrets[i].Target.Name == "" && !*k.cfg.Secrets[i].Disabled && k.cfg.Secrets[i].Strategy != string(secret.StrategyExternal):
		k.report(index("secrets", i), "it is the admin of a target and has no target itself, so a rotation would lock the admin out",
			"give it target: {name: …, user: …, strategy: single}, or set disabled: true")
	}
}

// targets checks each target.
func (k *checker) targets() {
	for _, name := range slices.Sorted(maps.Keys(k.cfg.Targets)) {
		if o := k.cfg.Targets[name].Options; o != nil {
			o.check(k, []string{"targets", name})
		}
	}
}

// target checks what a secret says of its target.
func (k *checker) target(at []string, s Secret) {
	if s.Target.Name == "" {
		return
	}
	at = append(slices.Clip(at), "target")
	t, ok := k.cfg.Targets[s.Target.Name]
	switch {
	case k.refused("targets"):
		return
	case !ok:
		k.report(append(at, "name"), "there is no target "+quote(s.Target.Name), didYouMean(s.Target.Name, slices.Collect(maps.Keys(k.cfg.Targets))))
		return
	case t.Options == nil:
		return
	case s.Strategy == string(secret.StrategyExternal):
		k.report(at, "strategy: external leaves the target to the store's own rotation", "remove one of them")
	}
	for i, other := range k.cfg.Secrets {
		if other.ID == s.ID {
			break
		}
		if other.Target.Name == s.Target.Name && other.Target.User == s.Target.User && s.Target.User != "" {
			k.report(append(at, "user"), fmt.Sprintf("secrets[%d] has the same account", i), "give each secret an account of its own: two would change its password in turns")
		}
	}
	_, hook := t.Options.(*Hook)
	if ends := s.Target.Drain != "" && s.Target.Drain != string(secret.DrainWait); ends && (hook || t.Options.blind(s.Target)) {
		k.report(append(at, "drain"), "the target does not know whose a session is, so it ends none", "remove it")
	}
	t.Options.checkSecret(k, at, s)
}

// TargetOf returns which account of a target has the values of a configured secret, and
// false if it has none.
func (c *Config) TargetOf(id secret.ID) (SecretTarget, bool) {
	for _, s := range c.Secrets {
		if s.ID == string(id) {
			return s.Target, s.Target.Name != ""
		}
	}
	return SecretTarget{}, false
}

// withTarget returns a proof that knows what the target of a secret can tell.
func (c *Config) withTarget(p secret.Proof, of SecretTarget) secret.Proof {
	t, ok := c.Targets[of.Name]
	p.TargetUnknown = ok && t.Options != nil && t.Options.blind(of)
	return p
}

// policy returns the policy of a secret of the target.
func (t Target) policy(of *secret.Policy) *secret.Policy {
	if t.Options == nil {
		return of
	}
	return t.Options.policy(of)
}

// targetTypes returns empty options of every type, by its word. A new type of target
// is a struct above and a line here.
func targetTypes() map[string]TargetOptions {
	types := map[string]TargetOptions{}
	for _, o := range []TargetOptions{new(Postgres), new(MySQL), new(Valkey), new(AWSIAM), new(Hook)} {
		types[o.Type()] = o
	}
	return types
}

// TargetTypes returns empty options of every type of target, in the order of their
// words.
func TargetTypes() []TargetOptions {
	types := targetTypes()
	out := make([]TargetOptions, 0, len(types))
	for _, name := range slices.Sorted(maps.Keys(types)) {
		out = append(out, types[name])
	}
	return out
}

// UnmarshalJSON decodes the options of the type that the object names. It does not mind
// keys that it does not know: the schema does.
func (t *Target) UnmarshalJSON(b []byte) error {
	var tag struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(b, &tag); err != nil {
		return err
	}
	o, ok := targetTypes()[tag.Type]
	if !ok {
		*t = Target{}
		return nil
	}
	t.Options = o
	return json.Unmarshal(b, o)
}

// MarshalJSON encodes the type and its options as one object.
func (t Target) MarshalJSON() ([]byte, error) {
	if t.Options == nil {
		return []byte("{}"), nil
	}
	b, err := json.Marshal(t.Options)
	if err != nil {
		return nil, err
	}
	return typedJSON(t.Options.Type(), b), nil
}

// typedJSON puts a type in front of the keys of an object.
func typedJSON(word string, object []byte) []byte {
	head := fmt.Sprintf(`{"type":%q`, word)
	if string(object) == "{}" {
		return []byte(head + "}")
	}
	return append([]byte(head+","), object[1:]...)
}
