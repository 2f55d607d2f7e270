package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Batch says how secrets are rotated together.
type Batch struct {
	Why  Why
	Wait Wait
	// Again is to rotate a secret that was rotated a moment ago, or under the ticket.
	Again bool
	// DuringFreeze is to rotate a secret also while a freeze of the configuration holds its
	// scheduled rotations.
	DuringFreeze bool
	// Progress is where it says what it does, a line for each thing.
	Progress io.Writer
}

func (b Batch) say(format string, args ...any) { fmt.Fprintf(b.Progress, format+"\n", args...) }

// twice is how soon after a rotation by hand another one counts as a mistake.
const twice = time.Minute

// asked is one secret of a batch.
type asked struct {
	Rotated
	q rotation.Request
}

// Rotate asks the workers to rotate secrets now, and waits as the batch says. A secret
// that was rotated under the same ticket already is left alone, so that the same batch
// can be run again after an interruption: what was done is read from the record and
// the log. It returns what came of each secret, and an error that joins what failed.
func (b Batch) Rotate(ctx context.Context, p *wire.Parts, ids []secret.ID) ([]Rotated, error) {
	out := make([]Rotated, 0, len(ids))
	var errs []error
	waiting := map[secret.ID]*asked{}
	for i, id := range ids {
		a, err := b.ask(ctx, p, id)
		switch {
		case ctx.Err() != nil:
			return out, errors.Join(append(errs, fmt.Errorf("interrupted after %d of %d secrets; the same command goes on: %w", i, len(ids), ctx.Err()))...)
		case err != nil:
			errs = append(errs, err)
		case a.q.Secret == "": // it was rotated before
			out = append(out, a.Rotated)
		default:
			waiting[id] = &a
		}
	}
	done, err := b.await(ctx, p.Bus, waiting)
	out = append(out, done...)
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 || b.Wait.For == WaitNone {
		return out, errors.Join(errs...)
	}
	return out, b.Wait.rollouts(ctx, p.Bus, versionsOf(out), b.say)
}

func versionsOf(all []Rotated) map[secret.ID]secret.VersionID {
	out := map[secret.ID]secret.VersionID{}
	for _, r := range all {
		out[r.SecretID] = r.To
	}
	return out
}

// ask records the act and asks the workers. The request is zero for a secret that the
// batch has rotated before.
func (b Batch) ask(ctx context.Context, p *wire.Parts, id secret.ID) (asked, error) {
	found, err := lookUp(ctx, p, id)
	if err != nil {
		return asked{}, err
	}
	e, meta, err := p.Catalog.Describe(ctx, found.Spec)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return asked{}, err
	}
	q, err := rotation.Manual(time.Now(), b.Why.by(), e.Spec, meta, err)
	if err != nil {
		return asked{}, err
	}
	q.Ticket = b.Why.Ticket
	out := asked{Rotated{SecretID: id, From: q.From}, q}
	before, recorded, err := b.before(ctx, p.Bus, q)
	if err != nil {
		return out, err
	}
	if before {
		b.say("%s: rotated already under %s", id, b.Why.Ticket)
		return asked{Rotated: Rotated{SecretID: id, To: q.From}}, nil
	}
	if err := errors.Join(b.frozen(e.Spec, meta), b.standing(ctx, p.Bus, q)); err != nil {
		return out, err
	}
	if !recorded {
		if err := record(ctx, p, events.ActRotate, id, q.From, b.Why.during(e.Spec, meta)); err != nil {
			return out, err
		}
	}
	return out, p.Bus.RotateNow(ctx, q.Event(p.Source+"/"+b.Why.by()))
}

// before says whether a secret was rotated under the ticket already, and whether it was
// recorded that its current version is to be replaced.
func (b Batch) before(ctx context.Context, bus *events.Bus, q rotation.Request) (rotated, recorded bool, err error) {
	if b.Why.Ticket == "" || b.Again {
		return false, false, nil
	}
	acts, err := bus.TrustedActs(ctx, q.Secret)
	if err != nil {
		return false, false, err
	}
	i := slices.IndexFunc(acts, func(a events.Act) bool { return a.Kind == events.ActRotate && a.Ticket == b.Why.Ticket })
	if i < 0 {
		return false, false, nil
	}
	return acts[i].VersionID != q.From, acts[i].VersionID == q.From, nil
}

// frozen returns an error while a freeze is in force, which a person may overrule.
func (b Batch) frozen(spec secret.Spec, m secret.Metadata) error {
	until, f := spec.Thaw(m, time.Now())
	switch {
	case f == nil:
		return nil
	case b.DuringFreeze:
		b.say("%s: warning: this overrules the freeze %s; that is recorded", spec.ID, frozen(f, until))
		return nil
	default:
		return fmt.Errorf("%s waits for the freeze %s; to rotate it now, which is recorded, give --during-freeze", spec.ID, frozen(f, until))
	}
}

// standing says where the last rollout is while it is not over, and returns an error if
// a person asked for it a moment ago.
func (b Batch) standing(ctx context.Context, bus *events.Bus, q rotation.Request) error {
	last, err := bus.Last(ctx, events.TypeRotated, q.Secret)
	ro, rerr := bus.Last(ctx, events.TypeRollout, q.Secret)
	if err = errors.Join(err, rerr); err != nil {
		if errors.Is(err, events.ErrUntrusted) {
			return nil // the worker announces over it
		}
		return err
	}
	d := last.Event.Data
	if d.VersionID != q.From || d.PreviousVersionID == "" || ro.Event.Data.VersionID == q.From && converged(ro.Event.Data.Rollout) {
		return nil
	}
	ago := about(time.Since(last.At))
	if d.Reason == events.ReasonManual && time.Since(last.At) < twice && !b.Again {
		return fmt.Errorf("%s was rotated %s ago and has not converged yet: %s; give --again to rotate it anyway", q.Secret, ago, inspect.RolloutLine(ro.Event.Data))
	}
	b.say("%s: the last rollout, of %s ago, is not over: %s", q.Secret, ago, inspect.RolloutLine(ro.Event.Data))
	return nil
}

func about(d time.Duration) string { return secret.FormatDuration(max(d, 0).Round(time.Second)) }

// refusals is how often it is asked whether a worker has refused.
const refusals = 2 * time.Second

// await waits until each version is announced.
func (b Batch) await(parent context.Context, bus *events.Bus, waiting map[secret.ID]*asked) ([]Rotated, error) {
	var out []Rotated
	if b.Wait.For == WaitNone || len(waiting) == 0 {
		for _, a := range waiting {
			out = append(out, a.Rotated)
		}
		return out, nil
	}
	ctx, cancel := context.WithTimeout(parent, b.Wait.Timeout)
	defer cancel()
	total := len(waiting)
	var errs []error
	all := errors.New("all are there")
	refused := make(chan map[secret.ID]error, 1)
	go func() { refused <- b.refused(ctx, cancel, bus, waiting) }()
	left := mapKeys(waiting)
	err := bus.WatchLog(ctx, []events.Type{events.TypeRotated, events.TypeRotationFailed}, func(_ context.Context, a events.Announcement) error {
		one, ok := left[a.Event.Data.SecretID]
		if !ok {
			return nil
		}
		to, err := one.q.Outcome(a)
		if to == "" && err == nil {
			return nil
		}
		delete(left, one.SecretID)
		one.To = to
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", one.SecretID, err))
		} else {
			out = append(out, one.Rotated)
		}
		if total > 1 {
			b.say("%s (%d of %d)", one.Rotated, total-len(left), total)
		}
		if len(left) == 0 {
			return all
		}
		return nil
	}, nil)
	cancel()
	why := <-refused
	if err != nil && !errors.Is(err, all) {
		return out, err
	}
	for id := range left {
		refusal := why[id]
		if refusal == nil {
			refusal = late(parent, bus, id, b.Wait.Timeout)
		}
		errs = append(errs, refusal)
	}
	return out, errors.Join(errs...)
}

func mapKeys(waiting map[secret.ID]*asked) map[secret.ID]*asked {
	out := make(map[secret.ID]*asked, len(waiting))
	for id, a := range waiting {
		c := *a
		out[id] = &c
	}
	return out
}

// refused asks again and again why a worker has put a rotation off, until ctx ends. Once
// every rotation that is waited for is refused for good it calls stop.
func (b Batch) refused(ctx context.Context, stop func(), bus *events.Bus, waiting map[secret.ID]*asked) map[secret.ID]error {
	out := map[secret.ID]error{}
	tick := time.NewTicker(refusals)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return out
		case <-tick.C:
		}
		final := 0
		for id, a := range waiting {
			t, err := bus.Timer(ctx, events.TypeNearExpiry, id)
			d := t.Event.Data
			if err != nil || d.Failure == nil || d.VersionID != a.q.From || d.Attempt == 0 {
				continue
			}
			refusal := fmt.Errorf("the worker refuses to rotate %s: %s", id, d.Failure.Message)
			if d.Failure.Code == events.CodeUnknownSecret {
				final++
				refusal = fmt.Errorf("%w; it runs with another configuration than this command: load the changed one there", refusal)
			} else if out[id] == nil {
				b.say("%s: %s; it is tried again at %s", id, d.Failure.Message, t.At.UTC().Format(time.RFC3339))
			}
			out[id] = refusal
		}
		if final == len(waiting) {
			stop()
			return out
		}
	}
}
