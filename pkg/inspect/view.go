package inspect

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Bus is what is read of the bus; *events.Bus is one.
type Bus interface {
	Log
	Timer(ctx context.Context, t events.Type, id secret.ID) (events.Timer, error)
	Fleet(ctx context.Context, id secret.ID) (events.Fleet, error)
	Reads(ctx context.Context, id secret.ID) (events.Reads, error)
	Pause(ctx context.Context, id secret.ID) (events.Pause, error)
	LastRetirement(ctx context.Context, id secret.ID) (events.Receipt, bool, error)
	Confirmations(ctx context.Context, id secret.ID, consumers []secret.Consumer) (map[string]events.Confirmed, error)
}

// Log is what is read of the log of events; *events.Bus is one.
type Log interface {
	RotatedKeys(ctx context.Context) (map[secret.Key]struct{}, error)
	DiscoveredKeys(ctx context.Context) (map[secret.Key]struct{}, error)
	Last(ctx context.Context, t events.Type, id secret.ID) (events.Announcement, error)
}

// View shows secrets by what the bus says of them.
type View struct {
	bus   Bus
	known *rollout.KnownReaders // see Inspector.Readers
}

// NewView returns a view. A nil bus leaves out what only the bus says: timers,
// failures and rollouts.
func NewView(bus Bus) *View { return &View{bus: bus} }

// Secret returns what is known of the secret of an entry, given the answer of its
// store: a store that does not know the secret gives [secret.ErrNotFound].
func (v *View) Secret(ctx context.Context, e catalog.Entry, m secret.Metadata, err error) Secret {
	s := show(e)
	if err != nil && !errors.Is(err, secret.ErrNotFound) {
		s.Error, s.Err = err.Error(), err
		return v.unread(ctx, s)
	}
	s.Meta = m
	facts := scheduler.Facts{Known: err == nil, Meta: m, Deleted: scheduler.Deletion(err)}
	last, err := v.ask(ctx, e.Spec.ID, &facts)
	decide(&s, e.Spec, facts)
	if e.Origin == catalog.Removed {
		s.Reason, s.Message, s.RotateAt = scheduler.ReasonRemoved, "the configuration lists it no longer; its versions are still in the store", time.Time{}
		s.Freeze = nil
	}
	versions(&s, e.Spec, m)
	s.WaitSeconds = seconds(rollout.Question{Spec: e.Spec}.Wait(events.Fleet{}))
	if err = errors.Join(err, v.rollout(ctx, &s, e.Spec, last, errors.Is(err, events.ErrUntrusted)), v.contradicted(ctx, &s), v.verified(ctx, &s), v.forced(ctx, &s)); err != nil {
		s.Error, s.Err = err.Error(), err
	}
	return s
}

// ask adds what the bus says to the facts, and returns where the last rollout is.
func (v *View) ask(ctx context.Context, id secret.ID, facts *scheduler.Facts) (events.Data, error) {
	if v.bus == nil {
		return events.Data{}, nil
	}
	timer, terr := v.bus.Timer(ctx, events.TypeNearExpiry, id)
	failed, ferr := v.bus.Last(ctx, events.TypeRotationFailed, id)
	last, rerr := v.bus.Last(ctx, events.TypeRollout, id)
	pause, perr := v.bus.Pause(ctx, id)
	facts.Pause = pause
	facts.Timer, facts.Failed = timer, failed.Event.Data
	return last.Event.Data, errors.Join(terr, ferr, rerr, perr)
}

// decide sets when the secret rotates, as the scheduler decides it.
func decide(s *Secret, spec secret.Spec, facts scheduler.Facts) {
	d := scheduler.Evaluate(time.Now(), spec, facts)
	s.Reason, s.Message, s.Failure, s.RotateAt = d.Reason, d.Message, d.Failure, d.At
	s.Armed, s.TimerAt = facts.Timer.Seq != 0, facts.Timer.At
	if d.Freeze != nil {
		s.Freeze = &Frozen{d.Freeze.Reason, d.At.UTC()}
	}
	if facts.Pause.Paused {
		s.Pause = &facts.Pause
	}
}

// unread adds to a secret that its store does not show where its last rollout is, by
// the log and the fleet alone.
func (v *View) unread(ctx context.Context, s Secret) Secret {
	if v.bus == nil || s.SecretID == "" {
		return s
	}
	announced, err := v.bus.Last(ctx, events.TypeRotated, s.SecretID)
	last, rerr := v.bus.Last(ctx, events.TypeRollout, s.SecretID)
	if s.VersionID = announced.Event.Data.VersionID; err == nil && rerr == nil && s.VersionID != "" {
		s.Previous = announced.Event.Data.PreviousVersionID
		err = v.rollout(ctx, &s, s.Spec, last.Event.Data, false)
		s.SafeToRevoke = nil // the store may have another version by now
	}
	if err = errors.Join(err, rerr); err != nil {
		s.Error += "; " + err.Error()
		s.Err = errors.Join(s.Err, err)
	}
	return s
}

// versions sets which versions there are.
func versions(s *Secret, spec secret.Spec, m secret.Metadata) {
	cur := m.Current()
	pending, _ := m.At(secret.StagePending)
	previous, _ := m.At(secret.StagePrevious)
	s.VersionID, s.Pending, s.Previous = cur.ID, pending.ID, previous.ID
	if cur.ID != "" {
		s.CreatedAt, s.NotAfter = cur.CreatedAt, spec.NotAfter(m, cur)
	}
}

// rollout sets where the rollout of the current version is, given the last event
// about a rollout of the secret, and what the fleet says. Before the first event it
// has just begun. untrusted is true if a key that is not trusted signed its timer.
func (v *View) rollout(ctx context.Context, s *Secret, spec secret.Spec, last events.Data, untrusted bool) error {
	if v.bus == nil || s.VersionID == "" {
		return nil
	}
	r := rollout.Rollout{State: events.RolloutRolling}
	if last.VersionID == s.VersionID && last.Rollout != nil {
		r = rollout.Resume(last)
	}
	s.Rollout, s.RolloutSince, s.RetireAt = r.State, r.Since, r.RetireAt
	announced, err := v.bus.Last(ctx, events.TypeRotated, s.SecretID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return err
	}
	untrusted = untrusted || err != nil
	s.Announced, s.AnnouncedAt = announced.Event.Data.VersionID, announced.At
	s.Findings = slices.Concat(s.Findings, s.violations(announced.Event.Data))
	if s.RolloutSince.IsZero() && s.Announced == s.VersionID {
		s.RolloutSince = announced.At
	}
	s.Timeline = timeline(r, s.VersionID, announced)
	confirmed, err := v.bus.Confirmations(ctx, s.SecretID, spec.Proof.Consumers)
	if err != nil {
		return err
	}
	fleet, err := v.bus.Fleet(ctx, s.SecretID)
	if err != nil {
		return err
	}
	q := rollout.Question{Spec: spec, VersionID: s.VersionID, Pending: s.Pending, Unstaged: s.Previous == "", Promoted: announced.At, Confirmed: confirmed,
		Foreign: rollout.Foreign(spec, announced.Event.Data, untrusted)}
	if announced.Event.Data.VersionID != s.VersionID {
		q.Promoted = fleet.At // it is announced later
	}
	standing, safe := q.Ask(fleet), q.Safe(r, fleet)
	s.Applied, s.Blocking, s.SafeToRevoke, s.WaitSeconds = standing.Applied, standing.Blocking, &safe, seconds(q.Wait(fleet))
	if err := v.inUse(ctx, s, r); err != nil {
		return err
	}
	return v.readers(ctx, s, q, fleet)
}

// inUse adds the sessions that hold a retirement back, as the worker saw them when it
// last asked the target.
func (v *View) inUse(ctx context.Context, s *Secret, r rollout.Rollout) error {
	if r.State != events.RolloutDraining {
		return nil
	}
	timer, err := v.bus.Timer(ctx, events.TypeRetire, s.SecretID)
	if errors.Is(err, events.ErrUntrusted) {
		return nil // it says nothing
	}
	if err != nil || timer.Event.Data.VersionID != s.VersionID {
		return err
	}
	retry := timer.Event.Data.Retry
	s.DrainOverdue = retry.Failure != nil && retry.Failure.Code == events.CodeDrainOverdue
	s.Resumed = retry.Resumed
	if r.Suspended && !retry.SuspendedAt.IsZero() {
		s.SuspendedUntil = retry.SuspendedAt.Add(s.Spec.SoakPeriod())
	}
	open := retry.InUse.Named()
	if len(open) == 0 && s.Resumed != nil {
		open = s.Resumed.Clients.Named()
	}
	if len(open) == 0 {
		return nil
	}
	s.Blocking = append(s.Blocking, open...)
	s.SafeToRevoke.Waiting = append(s.SafeToRevoke.Waiting, open...)
	s.SafeToRevoke.Answer, s.SafeToRevoke.Because = rollout.AnswerNo, "the target sees "+open[0].String()
	return nil
}

// seconds returns a duration in whole seconds, rounded up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
