package config

import (
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/hook"
)

// Hook is an HTTP endpoint or a program of your own, for a service that has no driver.
type Hook struct {
	// Endpoint that takes POST requests: https, or http on this machine.
	URL string `json:"url,omitzero" jsonschema:"format=hook-url"`
	// Program and its arguments, in place of url.
	Command []string `json:"command,omitzero" jsonschema:"minItems=1,maxItems=100"`
	// Bearer token for the endpoint.
	Token Ref `json:"token,omitzero"`
	// Files for TLS to the endpoint.
	TLS settings.TLS `json:"tls,omitzero"`
	// How many values of one account are valid at a time: one (none), two (dual), or
	// any number.
	Overlap string `json:"overlap,omitzero" default:"none" jsonschema:"enum=none,enum=dual,enum=any"`
	// What the service can tell about the use of a value.
	InUse string `json:"in_use,omitzero" default:"none" jsonschema:"enum=none,enum=sessions,enum=last_used"`
	// The service knows the verbs suspend and resume.
	Suspends bool `json:"suspends,omitzero"`
	// The service makes the values itself.
	Proposes bool `json:"proposes,omitzero"`
	// How long a change may take until it works. Without it no time.
	Lag Duration `json:"lag,omitzero"`
}

// Type returns hook.
func (*Hook) Type() string { return "hook" }

func (o *Hook) blind(SecretTarget) bool { return o.Capabilities().InUse == target.InUseUnknown }

func (*Hook) policy(of *secret.Policy) *secret.Policy { return of }

// Capabilities returns what the service can do.
func (o *Hook) Capabilities() target.Capabilities {
	c := target.Capabilities{Overlap: target.Overlap(o.Overlap), InUse: target.InUse(o.InUse), Lag: time.Duration(o.Lag), Suspends: o.Suspends}
	if o.InUse == "none" {
		c.InUse = target.InUseUnknown
	}
	return c
}

func (o *Hook) check(k *checker, at []string) {
	if err := o.TLS.Validate(); err != nil && k.whole(append(at, "tls")...) {
		k.contradiction(append(at, "tls"), err)
	}
	if (o.URL == "") == (len(o.Command) == 0) && k.whole(at...) {
		k.report(at, "it has to name one hook", "give url or command, one of them")
	}
}

func (o *Hook) checkSecret(k *checker, at []string, s Secret) {
	if s.Target.Owner != "" || s.Target.Strategy != "" {
		k.report(at, "owner and strategy are for databases", "remove them; overlap of the target says how many values are valid")
	}
	if o.Overlap == string(target.OverlapNone) {
		k.withoutOverlap(append(at, "name"), s)
	}
}

func checkHookURL(s string) error { return hook.CheckURL(s) }
