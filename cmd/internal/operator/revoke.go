package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// Revoked is a version that a person has destroyed without proof.
type Revoked struct {
	SecretID  secret.ID        `json:"secret_id"`
	VersionID secret.VersionID `json:"version_id"`
	// Current is the version that is current.
	Current secret.VersionID `json:"current_version_id"`
	// Breaks are the instances that may use it, by the records of the fleet, and
	// Unknown says why there may be more.
	Breaks  []events.Blocker `json:"breaks,omitempty"`
	Unknown string           `json:"unknown,omitempty"`
	// Done is false where nothing was changed.
	Done bool `json:"done"`
}

func (r Revoked) String() string {
	return fmt.Sprintf("%s: version %s is destroyed, without proof; %s", r.SecretID, r.VersionID, r.Who())
}

// Who says whom the end of the version may break.
func (r Revoked) Who() string {
	var who []string
	for _, b := range r.Breaks {
		who = append(who, inspect.Blocked(b))
	}
	if r.Unknown != "" {
		who = append(who, r.Unknown)
	}
	if len(who) == 0 {
		return "by the records of the fleet, no instance uses it"
	}
	return "it may break " + strings.Join(who, ", ")
}

// Revoke revokes a version that is not current at its target, and destroys its value,
// without proof that no instance uses it. Without force it changes nothing, and says whom
// that may break. What is done is recorded first, and so is a receipt that claims no proof.
func Revoke(ctx context.Context, p *wire.Parts, id secret.ID, v secret.VersionID, force bool, why Why) (Revoked, error) {
	at, err := locate(ctx, p, id)
	if err != nil {
		return Revoked{}, err
	}
	if err := at.mayRevoke(v); err != nil {
		return Revoked{}, err
	}
	receipt, out, err := forced(ctx, p, at, v, why)
	if err != nil || !force {
		return out, err
	}
	if err := record(ctx, p, events.ActRevoke, id, v, why); err != nil {
		return out, err
	}
	if err := p.Bus.RecordRetirement(ctx, receipt); err != nil {
		return out, err
	}
	if err := revokeAtTarget(ctx, p, at, v); err != nil {
		return out, err
	}
	err = at.store.RetireWhile(ctx, at.spec.StorePath(), v, secret.RetireDestroy, out.Current)
	out.Done = err == nil
	return out, err
}

// revokeTimeout bounds the call of a target.
const revokeTimeout = time.Minute

// revokeAtTarget makes a version invalid where its secret has a target. The store still
// has the value then: a target may need it to find the account.
func revokeAtTarget(ctx context.Context, p *wire.Parts, at place, v secret.VersionID) error {
	t, err := p.Targets.For(ctx, at.spec)
	if err != nil || t == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	if err := t.Revoke(ctx, target.Ref{Secret: at.spec.ID, Version: v}, target.Drain{}); err != nil {
		return fmt.Errorf("revoke version %s of %s at the target, before its value is destroyed (repeat this where the target can be reached): %w", v, at.spec.ID, err)
	}
	return nil
}

// mayRevoke returns why a version cannot be revoked.
func (at place) mayRevoke(v secret.VersionID) error {
	known, ok := at.meta.Version(v)
	switch {
	case !ok:
		return fmt.Errorf("%s has no version %s; 'rotator versions %s' lists them", at.spec.ID, v, at.spec.ID)
	case known.Stage == secret.StageCurrent:
		return fmt.Errorf("version %s of %s is current; 'rotator rotate %s --emergency' replaces it first", v, at.spec.ID, at.spec.ID)
	case known.Stage == secret.StagePending:
		return fmt.Errorf("version %s of %s is pending: no instance has it yet, and its rotation replaces or promotes it", v, at.spec.ID)
	case known.Empty:
		return fmt.Errorf("version %s of %s has no value any more", v, at.spec.ID)
	default:
		return nil
	}
}

// forced returns the receipt of a revocation, and whom it may break.
func forced(ctx context.Context, p *wire.Parts, at place, v secret.VersionID, why Why) (events.Receipt, Revoked, error) {
	id, cur := at.spec.ID, at.meta.Current().ID
	pending, _ := at.meta.At(secret.StagePending)
	announced, err := p.Bus.Last(ctx, events.TypeRotated, id)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return events.Receipt{}, Revoked{}, err
	}
	confirmed, err := p.Bus.Confirmations(ctx, id, at.spec.Proof.Consumers)
	if err != nil {
		return events.Receipt{}, Revoked{}, err
	}
	fleet, err := p.Bus.Fleet(ctx, id)
	if err != nil {
		return events.Receipt{}, Revoked{}, err
	}
	q := rollout.Question{Spec: at.spec, VersionID: cur, Pending: pending.ID, Promoted: announced.At, Confirmed: confirmed}
	by := p.Source + "/" + User()
	receipt, breaks := q.Forced(fleet, v, events.Forced{By: by, Reason: why.Reason, Ticket: why.Ticket}, p.Source, time.Now())
	return receipt, Revoked{SecretID: id, VersionID: v, Current: cur, Breaks: breaks, Unknown: q.Ask(fleet).Unknown}, nil
}
