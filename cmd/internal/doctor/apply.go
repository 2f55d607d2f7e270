package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Apply applies the remedies that are safe. Who applied which one and why is recorded
// before. To apply one again changes nothing.
func Apply(ctx context.Context, r operator.Reached, found []Finding, why operator.Why) {
	if r.Bus != nil {
		return
	}
	done := map[Fix]error{}
	for i, f := range found {
		if f.Fix == nil {
			continue
		}
		err, known := done[*f.Fix]
		if !known {
			err = apply(ctx, r, f, why)
			done[*f.Fix] = err
		}
		if err != nil {
			found[i].FixError = err.Error()
			continue
		}
		found[i].Fixed = true
	}
}

func apply(ctx context.Context, r operator.Reached, f Finding, why operator.Why) error {
	bus := r.Parts.Bus
	act := events.Act{Kind: events.ActFix, By: r.Parts.Source + "/" + operator.User(), Reason: why.Reason, Ticket: why.Ticket, At: time.Now()}
	if act.Reason == "" {
		act.Reason = "rotator doctor found " + string(f.Code)
	}
	switch f.Fix.Kind {
	case FixSweep:
		act.Subject = "sweep"
	case FixConsumer:
		act.Subject = fmt.Sprintf("consumer %s of stream %s", f.Fix.Consumer, f.Fix.Stream)
	case FixPending:
		act.SecretID, act.VersionID = f.Fix.SecretID, f.Fix.VersionID
	}
	if err := bus.RecordAct(ctx, act); err != nil {
		return err
	}
	switch f.Fix.Kind {
	case FixSweep:
		return bus.SweepNow(ctx)
	case FixConsumer:
		return bus.DeleteConsumer(ctx, f.Fix.Stream, f.Fix.Consumer)
	default:
		return withdraw(ctx, r, *f.Fix)
	}
}

// withdraw takes a pending version back. A version that is not pending any more stays
// as it is.
func withdraw(ctx context.Context, r operator.Reached, x Fix) error {
	e, err := r.Catalog.Find(ctx, x.SecretID)
	if err != nil {
		return err
	}
	st, ok := r.Stores.Get(e.Spec.Store)
	if !ok {
		return fmt.Errorf("%s: there is no store %q", x.SecretID, e.Spec.Store)
	}
	m, err := st.Describe(ctx, e.Spec.StorePath())
	if err != nil {
		return err
	}
	if v, ok := m.At(secret.StagePending); !ok || v.ID != x.VersionID || v.Token != x.Token {
		return nil
	}
	return st.RetireWhile(ctx, e.Spec.StorePath(), x.VersionID, secret.RetireDelete, m.Current().ID)
}
