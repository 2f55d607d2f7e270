package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/internal/guard"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// retryPause is how soon a move that failed is tried again.
	retryPause = 2 * time.Second
	// maxMoves bounds the moves of one rollout in one pass, so that one rollout that
	// is decided anew and anew leaves time for the others.
	maxMoves = 8
	// reconsider is how long to wait for something when there is no wake.
	reconsider = time.Hour
)

// run decides about rollouts that have changed or reached a deadline, until ctx
// ends. Between two passes it pauses for as long as the last one took to decide,
// so that the watches, which need the same lock, are not held up.
func (t *tracker) run(ctx context.Context) error {
	if !t.load(ctx) {
		return nil
	}
	for t.wait(ctx) {
		backoff.Pause(ctx, max(gather, t.pass(ctx)))
	}
	return nil
}

// wait returns true when a rollout is due and false when ctx ends. A rollout is due
// when something about it was heard, when its own deadline is reached, and when the
// lease of an instance ends: silence makes no message.
func (t *tracker) wait(ctx context.Context) bool {
	t.mu.Lock()
	at, ok := t.deadlines.next()
	silent := t.fleet.nextExpiry()
	t.mu.Unlock()
	d := reconsider
	if ok {
		d = at.Sub(t.clock.now())
	}
	if !silent.IsZero() {
		d = min(d, silent.Sub(t.clock.now()))
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.kick:
	case <-timer.C:
	}
	return ctx.Err() == nil
}

// pass decides once about every rollout that is due, carries the decisions out,
// and returns how long it took to decide. What fails is logged once for all of them
// and tried again after retryPause. Moves of different rollouts run side by side,
// those of one rollout never do.
func (t *tracker) pass(ctx context.Context) (deciding time.Duration) {
	var (
		g    errgroup.Group
		mu   sync.Mutex
		errs []error
	)
	g.SetLimit(t.limit)
	for _, tr := range t.due(t.clock.now()) {
		if ctx.Err() != nil {
			break
		}
		begin := time.Now()
		d := t.decide(t.clock.now(), tr)
		deciding += time.Since(begin)
		if d.idle() {
			continue
		}
		g.Go(func() error {
			err := guard.Call(ctx, t.log, "a move of a rollout", func() error { return t.settle(ctx, d) })
			if err != nil {
				t.postpone(tr)
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
			return nil
		})
	}
	_ = g.Wait() // its functions return nil
	if len(errs) > 0 {
		t.log.LogAttrs(ctx, slog.LevelWarn, "rollout.retry", slog.Int("rollouts", len(errs)), slog.Duration("in", retryPause),
			slog.String("error", errs[0].Error()))
	}
	return deciding
}

// due returns the rollouts that were touched or have reached their deadline.
func (t *tracker) due(now time.Time) []*tracked {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fleet.expire(now, t.touched)
	t.deadlines.due(now, func(tr *tracked) { t.dirty[tr] = struct{}{} })
	out := make([]*tracked, 0, len(t.dirty))
	for tr := range t.dirty {
		out = append(out, tr)
	}
	clear(t.dirty)
	return out
}

// postpone has a rollout looked at again after retryPause, whatever its deadline was.
func (t *tracker) postpone(tr *tracked) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deadlines.set(tr, t.clock.now().Add(retryPause))
}

// decision is what has to be done about one rollout. It is made with t.mu held and
// carried out without it, so that by then tr may be in another state.
type decision struct {
	tr         *tracked
	next       rollout.Rollout // after the actions
	facts      rollout.Facts   // that led to it
	actions    []rollout.Action
	after      uint64   // sequence of the event before the next one
	unnotified []string // services that use the secret and may not know
}

// idle reports whether there is nothing to do.
func (d decision) idle() bool { return len(d.actions) == 0 && len(d.unnotified) == 0 }

// waits reports whether nothing more can be decided before the reports have
// been read.
func (d decision) waits() bool {
	return slices.ContainsFunc(d.actions, func(a rollout.Action) bool { return a.Kind == rollout.ActionRefresh })
}

// decide returns what has to be done about a rollout now, and sets its next
// deadline. It only looks at the facts; [rollout.Advance] decides. A rollout that has
// ended gives way to the one that was announced meanwhile, in the same call.
func (t *tracker) decide(now time.Time, tr *tracked) decision {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if tr.next != nil && tr.rollout.Ended() {
			t.set(tr, tr.rollout.After(*tr.next))
			tr.next = nil
		}
		f, unnotified := t.summaryFacts(now, tr)
		next, actions := rollout.Advance(now, tr.rollout, f)
		if len(actions) > 0 {
			f = t.fullFacts(now, f, tr)
			next, actions = rollout.Advance(now, tr.rollout, f)
		}
		if len(actions) == 0 && next.State != tr.rollout.State {
			t.set(tr, next) // ended in silence
			continue
		}
		t.deadlines.set(tr, tr.rollout.Wake(now, f))
		return decision{tr: tr, next: next, facts: f, actions: actions, after: tr.seq, unnotified: unnotified}
	}
}

// summaryFacts returns the facts as far as they are needed to see whether a
// rollout moves; t.mu is held. While an instance runs another version they name
// one blocker instead of all: listing ten thousand of them after every report
// would be most of the work. unnotified are the services that use another version,
// and have not been notified, of a secret for which no subscribers are configured.
func (t *tracker) summaryFacts(now time.Time, tr *tracked) (f rollout.Facts, unnotified []string) {
	r := tr.rollout
	if r.Ended() {
		return rollout.Facts{}, nil
	}
	spec, ok := t.spec(r.SecretID)
	f = rollout.Facts{Configured: ok, Grace: spec.GracePeriod(), Deadline: spec.RolloutDeadline(), Soak: spec.SoakPeriod(), Newer: tr.next != nil, Fresh: now.Sub(t.synced) < freshFor}
	lagging := t.fleet.lagging(r.SecretID, r.VersionID)
	if len(lagging) == 0 {
		return t.fullFacts(now, f, tr), nil
	}
	f.Blocking = []events.Blocker{{Service: lagging[0], Reason: events.BlockOldVersion}}
	if f.Newer || r.State == "" || len(spec.Services) > 0 {
		return f, nil
	}
	return f, slices.DeleteFunc(lagging, func(s string) bool { return slices.Contains(tr.notified, s) })
}

// fullFacts completes the facts of summaryFacts; t.mu is held.
func (t *tracker) fullFacts(now time.Time, f rollout.Facts, tr *tracked) rollout.Facts {
	r := tr.rollout
	spec, _ := t.spec(r.SecretID)
	q := rollout.Question{Spec: spec, VersionID: r.VersionID, Promoted: r.StartedAt, Emergency: r.Cause == events.ReasonEmergency, Confirmed: t.confirmed[r.SecretID]}
	return f.With(q.Ask(t.fleet.of(r.SecretID, now)))
}

// settle carries a decision out, and what follows from it. What has been begun
// is brought to its end when ctx ends: every call in it has a deadline of its own. An
// error leaves the rollout as it was, and all of it is decided again.
func (t *tracker) settle(ctx context.Context, d decision) error {
	work := context.WithoutCancel(ctx)
	for range maxMoves {
		if err := t.perform(t.caused(work, d), d); err != nil {
			return err
		}
		if d.waits() || ctx.Err() != nil {
			return nil
		}
		if d = t.decide(t.clock.now(), d.tr); d.idle() {
			return nil
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.touch(d.tr)
	return nil
}

// caused returns ctx with the trace of the rotation that d is about, to which the moves
// of its rollout and the order to retire are linked.
func (t *tracker) caused(ctx context.Context, d decision) context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.tr.traced != d.next.VersionID {
		return ctx // announced before this process began, or overtaken
	}
	return trace.ContextWithRemoteSpanContext(ctx, d.tr.cause)
}

// perform carries the actions out in their order, and then takes the rollout into
// its next state. When another notifier publishes the move first, the rest is left to
// that one. Each action may be repeated: it is a publication at a fixed place of the
// log, a timer that is set to a fixed time, or a notification with a fixed sequence.
func (t *tracker) perform(ctx context.Context, d decision) error {
	for _, a := range d.actions {
		var err error
		switch a.Kind {
		case rollout.ActionPublish:
			var won bool
			if won, err = t.publish(ctx, d, a.Reason); err == nil && !won {
				return nil
			}
		case rollout.ActionArmRetire:
			err = t.arm(ctx, d, a)
		case rollout.ActionNotifyDraining:
			err = t.drain(ctx, d)
		case rollout.ActionDisarmRetire:
			err = t.bus.Disarm(ctx, events.TypeRetire, d.next.SecretID)
		case rollout.ActionRefresh:
			t.refresh()
		}
		if err != nil {
			return err
		}
	}
	t.applyIfUnchanged(d, func() { t.set(d.tr, d.next) })
	return t.tell(ctx, d)
}

// drain tells the subscribers to accept no version but the new one. What they are
// told is the event in the log, so that they can verify it and order it by its
// sequence.
func (t *tracker) drain(ctx context.Context, d decision) error {
	a, err := t.bus.Last(ctx, events.TypeRollout, d.next.SecretID)
	if err != nil {
		return err
	}
	if data := a.Event.Data; data.Rollout == nil || data.Rollout.State != events.RolloutDraining || !d.next.Is(data.VersionID, data.Rollout.StartedAt) {
		return nil // the log has moved on, and the watch says so
	}
	t.mu.Lock()
	spec, _ := t.spec(d.next.SecretID)
	services := t.audience(spec)
	t.mu.Unlock()
	for _, s := range services {
		if err := t.bus.Notify(ctx, s, a.Event, a.Seq); err != nil {
			return fmt.Errorf("tell %s to drain: %w", s, err)
		}
	}
	return nil
}

// audience returns the services that hear of a secret: those that are configured,
// or those that use it where none is. A service that is not listed is not told what
// others use; t.mu is held.
func (t *tracker) audience(spec secret.Spec) []string {
	if len(spec.Services) > 0 {
		return spec.Services
	}
	return t.fleet.reporting(spec.ID)
}

// publish says where the rollout is, directly after the event that the decision
// knew of: a compare-and-set on the log, so that of any number of notifiers one
// publishes a move. It returns false when another notifier was quicker; what it said has
// been adopted then.
func (t *tracker) publish(ctx context.Context, d decision, why rollout.Reason) (won bool, err error) {
	ctx, span := t.tracer.Start(ctx, "rollout."+string(d.next.State), trace.WithNewRoot(), trace.WithLinks(trace.LinkFromContext(ctx)), trace.WithAttributes(
		attribute.String("secret.id", string(d.next.SecretID)), attribute.String("rollout.reason", string(why))))
	defer span.End()
	seq, err := t.bus.PublishAfter(ctx, d.next.Event(t.source, d.facts), d.after)
	span.SetAttributes(attribute.Bool("rollout.lost_race", errors.Is(err, events.ErrConflict)))
	if errors.Is(err, events.ErrConflict) {
		return false, t.catchUp(ctx, d)
	}
	if err != nil {
		return false, err
	}
	t.published(d, seq)
	t.metrics.moved(ctx, d.next, why)
	t.report(ctx, d, why)
	return true, nil
}

// published records what was published, unless the log has moved on already.
func (t *tracker) published(d decision, seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if seq < d.tr.seq {
		return
	}
	r := d.next
	r.Reminder = time.Time{} // not asked for yet
	d.tr.seq = seq
	t.set(d.tr, r)
}

// catchUp adopts the last rollout event of a secret. One that no trusted key
// has signed says nothing, and is published over.
func (t *tracker) catchUp(ctx context.Context, d decision) error {
	a, err := t.bus.Last(ctx, events.TypeRollout, d.next.SecretID)
	if errors.Is(err, events.ErrUntrusted) {
		a.Event = events.Event{}
	} else if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.adopt(d.tr, a)
	return nil
}

// arm has a worker asked to retire the previous version. When nothing has come
// of that for long it looks into the log first: the end may have been missed.
func (t *tracker) arm(ctx context.Context, d decision, a rollout.Action) error {
	if a.Reason == rollout.ReasonOverdue {
		if err := t.catchUp(ctx, d); err != nil || !t.applyIfUnchanged(d, func() {}) {
			return err
		}
		level := slog.LevelWarn
		if d.next.Overdue {
			level = slog.LevelError
		}
		t.log.LogAttrs(ctx, level, "rollout.retire_overdue", slog.String("secret_id", string(d.next.SecretID)),
			slog.String("previous_version_id", string(d.next.PreviousVersionID)), slog.Time("retire_at", a.At))
	}
	_, err := t.bus.Arm(ctx, d.next.Order(t.source, d.facts), a.At)
	return err
}

// applyIfUnchanged calls fn with t.mu held, and returns true, if the rollout is
// still in the state that the decision led to. A watch may have brought a later state
// while the decision was carried out, and that one stays.
func (t *tracker) applyIfUnchanged(d decision, fn func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := d.tr.rollout
	ok := r.Is(d.next.VersionID, d.next.StartedAt) && r.State == d.next.State && r.RetireAt.Equal(d.next.RetireAt) && r.Suspended == d.next.Suspended
	if ok {
		fn()
	}
	return ok
}

// tell notifies services that use the secret without being subscribed: one that
// began to report after the announcement was fanned out would not know.
func (t *tracker) tell(ctx context.Context, d decision) error {
	if len(d.unnotified) == 0 {
		return nil
	}
	a, err := t.bus.Last(ctx, events.TypeRotated, d.next.SecretID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return err
	}
	if err == nil && d.next.Is(a.Event.Data.VersionID, a.Event.Data.OccurredAt) {
		for _, s := range d.unnotified {
			if err := t.bus.Notify(ctx, s, a.Event, a.Seq); err != nil {
				return err
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	d.tr.notified = append(d.tr.notified, d.unnotified...)
	return nil
}

// report logs a move. A rollout that has stalled is an error that names the first
// instances that hold it back; everything else is as planned.
func (t *tracker) report(ctx context.Context, d decision, why rollout.Reason) {
	attrs := []slog.Attr{slog.String("secret_id", string(d.next.SecretID)), slog.String("version_id", string(d.next.VersionID)),
		slog.String("state", string(d.next.State)), slog.String("reason", string(why)), slog.Int("applied", d.facts.Applied), slog.Int("blocking_total", len(d.facts.Blocking))}
	if d.next.State == events.RolloutStalled {
		t.log.LogAttrs(ctx, slog.LevelError, "rollout.stalled", append(attrs, slog.Any("blocking", rollout.Listed(d.facts.Blocking)))...)
		return
	}
	t.log.LogAttrs(ctx, slog.LevelInfo, "secret.rollout", attrs...)
}
