package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// tryTimeout bounds the logins with a value that is imported.
const tryTimeout = time.Minute

// Adoption is what an import of a value has shown before anything is written.
type Adoption struct {
	SecretID secret.ID `json:"secret_id"`
	// Target is the name of the target that took the value, "" for a secret without one.
	Target string `json:"target,omitempty"`
	// Next is the account that the first rotation gives a value to, "" where the target
	// does not say.
	Next string `json:"next,omitempty"`
	// Policy is how the value breaks the policy, "" for not at all.
	Policy string `json:"policy,omitempty"`
	// Report is what the first rotation does, and what keeps it from that.
	Report *TargetReport `json:"report,omitempty"`
}

// Parts connects to what runs with the configuration.
func (o *Operator) Parts(ctx context.Context) (*wire.Parts, error) { return o.connect(ctx) }

// Adopt tries a value that a person brings in: its target has to take it, on each
// endpoint. It writes nothing. With look it also says what the first rotation would do.
func (o *Operator) Adopt(ctx context.Context, p *wire.Parts, id secret.ID, v secret.Value, look bool) (Adoption, error) {
	at, err := locate(ctx, p, id)
	if err != nil {
		return Adoption{}, err
	}
	if cur := at.meta.Current().ID; cur != "" {
		return Adoption{}, fmt.Errorf("%s has version %s already; 'rotator put %s' replaces it", id, cur, id)
	}
	out := Adoption{SecretID: id}
	if broken := at.spec.ValuePolicy().Check(v); broken != nil {
		out.Policy = broken.Error()
	}
	targets := wire.NewTargets(o.Config, p.Catalog, p.Stores)
	t, err := targets.For(ctx, at.spec)
	if err != nil || t == nil {
		return out, err
	}
	out.Target = o.targetOf(id)
	if err := tryValue(ctx, t, at.spec, v); err != nil {
		return out, fmt.Errorf("%s: the target %s does not take the value, so nothing was written: %w", id, out.Target, err)
	}
	if n, ok := t.(target.Prober); ok {
		if out.Next, err = n.Successor(v); err != nil {
			return out, err
		}
	}
	if look {
		r, err := checkTarget(ctx, targets, p.Catalog, id)
		out.Report = &r
		return out, err
	}
	return out, nil
}

func (o *Operator) targetOf(id secret.ID) string {
	for _, s := range o.Config.Secrets {
		if secret.ID(s.ID) == id {
			return s.Target.Name
		}
	}
	return ""
}

func tryValue(ctx context.Context, t target.Target, s secret.Spec, v secret.Value) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	err := target.Try(ctx, t, s, "", v)
	if err != nil && !errors.Is(err, target.ErrRefused) && !errors.Is(err, target.ErrRejected) {
		err = fmt.Errorf("whether it does is unknown: %w", err)
	}
	return err
}

// Print prints an adoption that was not carried out.
func (a Adoption) Print(w io.Writer) error {
	text := fmt.Sprintf("%s: it has no target; the value would become its first version\n", a.SecretID)
	if a.Target != "" {
		text = fmt.Sprintf("%s: the target %s takes the value on each endpoint; nothing was written\n", a.SecretID, a.Target)
	}
	if a.Policy != "" {
		text += "  the value breaks the policy: " + a.Policy + "\n"
	}
	if a.Next != "" {
		text += fmt.Sprintf("  the first rotation gives a new password to %q\n", a.Next)
	}
	if _, err := io.WriteString(w, text); err != nil || a.Report == nil {
		return err
	}
	return PrintTargets(w, []TargetReport{*a.Report})
}

// Ready returns an error if the first rotation would be refused.
func (a Adoption) Ready() error {
	if a.Report == nil {
		return nil
	}
	return NotReady([]TargetReport{*a.Report})
}
