package client

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/client/internal/fence"
	"github.com/tradepulse/rotator/pkg/client/internal/reload"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// feed gives the machine an event and carries out the effects. It returns the
// effect that has to be answered, nil for none; the caller passes it to start, or
// answers it. got is the version that the event is about.
//
// What readers see changes with mu held, in the order of the events. Logs and
// metrics follow without it, and before a Refresh that waits for the end of the
// reload returns.
func (e *entry) feed(ctx context.Context, ev reload.Event, got loaded) (ask *reload.Effect) {
	e.mu.Lock()
	if read := ev.Kind == reload.ReadDone || ev.Kind == reload.ReadFailed; read && got.moves != e.moves {
		e.mu.Unlock()
		return nil
	}
	// Without the monotonic reading: due and the end of a version are wall time.
	state, effects := e.state.Next(e.rules, ev, time.Now().Round(0))
	e.state = state
	for _, f := range effects {
		e.publish(ctx, f, got)
	}
	e.confirm(got)
	var idle chan struct{}
	if !e.state.Busy() {
		idle, e.idle = e.idle, nil
	}
	e.mu.Unlock()
	if idle != nil {
		defer close(idle)
	}
	for i, f := range effects {
		switch f.Kind {
		case reload.Read, reload.Prepare, reload.Commit:
			ask = &effects[i]
		default:
			e.tell(ctx, f)
		}
	}
	return ask
}

// publish changes what readers, the report and the loop see. The caller holds mu.
func (e *entry) publish(ctx context.Context, f reload.Effect, got loaded) {
	switch f.Kind {
	case reload.Installed:
		e.replace(ctx, Current{Version: got.version, Value: got.value, LoadedAt: e.state.LoadedAt, NotAfter: e.state.NotAfter, e: e})
	case reload.Confirm:
		c := *e.current.Load()
		c.Version, c.NotAfter, c.Stale = got.version, f.NotAfter, false
		e.replace(ctx, c)
	case reload.Ends:
		c := *e.current.Load()
		c.NotAfter = f.NotAfter
		e.replace(ctx, c)
	case reload.MarkStale:
		c := *e.current.Load()
		c.Stale = true
		e.replace(ctx, c)
	case reload.Withdraw:
		e.withdrawn = append(e.withdrawn, f.Version)
	case reload.Report:
		e.status.Store(&events.Running{
			SecretID: e.id, VersionID: e.state.Version, Status: events.ApplyStatus(e.state.Status),
			Wanted: e.state.Wanted, Reason: e.state.Reason, At: e.state.LoadedAt,
		})
	case reload.Schedule:
		e.due.Store(0)
		if !f.At.IsZero() {
			e.due.Store(f.At.UnixNano())
		}
	default: // readers see nothing of the others
	}
}

// replace replaces what readers see, and keeps the gauge of stale versions. What
// readers got before stays as it was. The caller holds mu.
func (e *entry) replace(ctx context.Context, c Current) {
	old := e.current.Swap(&c)
	if wasStale := old != nil && old.Stale; wasStale != c.Stale {
		change := int64(1)
		if wasStale {
			change = -1
		}
		e.m.meters.stale.Add(ctx, change, metric.WithAttributes(attrID(e.id)))
	}
}

// tell logs and counts an effect, and wakes the report or the loop. Neither a log
// nor a metric holds a value.
func (e *entry) tell(ctx context.Context, f reload.Effect) {
	id, version := metric.WithAttributes(attrID(e.id)), slog.String("version_id", string(f.Version))
	switch f.Kind {
	case reload.Installed:
		e.m.meters.rotated.Add(ctx, 1, id)
		if !f.Cause.At.IsZero() {
			e.m.meters.latency.Record(ctx, time.Since(f.Cause.At).Seconds(), id)
		}
		e.logger().LogAttrs(ctx, slog.LevelInfo, "secret.rotated", version)
	case reload.Fresh:
		e.logger().LogAttrs(ctx, slog.LevelInfo, "secret.fresh", version)
	case reload.MarkStale:
		e.logger().LogAttrs(ctx, slog.LevelWarn, "secret.stale", version, slog.Time("since", f.At),
			slog.String("message", "the store could not be asked since the end of the version, which is still served"))
	case reload.Drop:
		e.drop(f.Version)
		e.logger().LogAttrs(ctx, slog.LevelInfo, "secret.dropped", slog.String("kept", string(f.Version)))
	case reload.NearExpiry:
		e.m.meters.near.Add(ctx, 1, id)
		e.logger().LogAttrs(ctx, slog.LevelWarn, "secret.near_expiry", version, slog.Duration("left", time.Until(f.NotAfter).Round(time.Second)))
	case reload.Failed:
		e.m.meters.failed.Add(ctx, 1, id, metric.WithAttributes(attribute.String("reason", f.Failure.Kind)))
		e.logger().LogAttrs(ctx, slog.LevelError, "secret.reload.failed", version, slog.String("running", string(e.current.Load().Version.ID)),
			slog.String("error", f.Failure.Text), slog.Duration("again_in", f.Pause))
	case reload.Report:
		e.m.renew()
	case reload.Schedule:
		e.m.rouse()
	default: // nothing to tell
	}
}

// logger returns the logger with the id of the secret.
func (e *entry) logger() *slog.Logger { return e.m.log.With(attrLogID(e.id)) }

// start carries out an effect that has to be answered, and what follows from it,
// in a goroutine of its own. It does nothing for nil. At most maxReloads of them run
// at once; the others wait for a slot.
func (e *entry) start(ask *reload.Effect) {
	if ask == nil {
		return
	}
	e.m.wg.Go(func() {
		select {
		case e.m.slots <- struct{}{}:
			defer func() { <-e.m.slots }()
		case <-e.m.work.Done():
			return
		}
		for ask != nil && e.m.work.Err() == nil {
			ask = e.reload(*ask)
		}
	})
}

// reload carries out a read, and prepare and commit if they follow. It returns
// the read of the next reload, nil for none.
//
// A failure while the Manager is closed says nothing about the version, so the
// machine does not hear of it.
func (e *entry) reload(f reload.Effect) (ask *reload.Effect) {
	ctx, span := e.m.tracer.Start(withTrace(e.m.work, f.Cause.Trace), "secret.reload", trace.WithAttributes(attrID(e.id)))
	defer span.End()
	asked, recorded, moves := readClock(), e.claim.recorded(), e.moved()
	got, err := e.read(ctx, store.Selector{Version: f.Version, Primary: f.Version == ""})
	got.moves = moves
	if err != nil {
		ask = e.failed(ctx, reload.ReadFailed, err, moves)
	} else {
		if f.Version == "" {
			got.asked = asked
		}
		ask = e.feed(ctx, reload.Event{
			Kind: reload.ReadDone, Version: got.version.ID, CreatedAt: got.version.CreatedAt, NotAfter: e.end(got), Pending: got.version.Stage == secret.StagePending,
		}, got)
	}
	return e.hooked(ctx, ask, got, asked, recorded)
}

// hooked withdraws from hooks what was given up, and carries out a prepare and the
// commit that follows. It returns the next read, nil for none.
func (e *entry) hooked(ctx context.Context, ask *reload.Effect, got loaded, asked fence.Clock, recorded bool) *reload.Effect {
	e.mu.Lock()
	idle := len(e.withdrawn) == 0 && (ask == nil || ask.Kind != reload.Prepare)
	e.mu.Unlock()
	if idle || e.lockHooks(e.m.work) != nil {
		return ask
	}
	defer e.unlockHooks()
	e.withdraw(ctx)
	if ask == nil || ask.Kind != reload.Prepare {
		return ask
	}
	if got.moves != e.moved() {
		return nil
	}
	e.lapse()
	defer e.offers(ctx, ask.Version)()
	if err := e.prepare(ctx, *ask, got); err != nil {
		return e.failed(ctx, reload.Refused, err, got.moves)
	}
	ask = e.feed(ctx, reload.Event{Kind: reload.Prepared}, got)
	if ask != nil && ask.Kind == reload.Commit {
		done := reload.Event{Kind: reload.Committed}
		if err := e.commitAll(ctx, *ask, got); err != nil {
			done = reload.Event{Kind: reload.CommitFailed, Failure: failureOf(err)}
		}
		e.claim.took(got.version.ID, asked, recorded)
		ask = e.feed(ctx, done, got)
	}
	return ask
}

// confirm notes that the primary called the version in use current, unless a hook
// refuses it or holds another one. The caller holds mu. It comes before a Refresh that
// waits for the end of the reload returns.
func (e *entry) confirm(got loaded) {
	if got.asked != (fence.Clock{}) && e.state.Version == got.version.ID && !e.state.Mixed() {
		e.claim.confirmed(got.version.ID, got.asked)
	}
}

// moved returns how often the secret has moved. It stays the same while hooking is held.
func (e *entry) moved() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.moves
}

// failed feeds the failure of a read or of a hook, unless the Manager is closed.
func (e *entry) failed(ctx context.Context, kind reload.EventKind, err error, moves uint64) (ask *reload.Effect) {
	if e.m.work.Err() != nil {
		return nil
	}
	return e.feed(ctx, reload.Event{Kind: kind, Failure: failureOf(err)}, loaded{moves: moves})
}

func failureOf(err error) reload.Failure {
	return reload.Failure{Kind: store.Reason(err), Text: err.Error()}
}

// notified takes a notification from the bus. One that was taken before costs no read
// of the store. It does not block, and ignores secrets that this Manager does not hold.
func (m *Manager) notified(ctx context.Context, d events.Delivery) {
	data := d.Event.Data
	e, ok := m.entries()[data.SecretID]
	if !ok {
		return
	}
	a := reload.Announcement{Version: data.VersionID, At: d.Event.Time, Seq: d.Seq, Trace: traceparent(ctx)}
	e.hears(a)
	kind := reload.Announced
	switch {
	case d.Event.Type == events.TypeStaged:
		kind = reload.Staged
	case d.Event.Type == events.TypeRollout && (data.Rollout == nil || data.Rollout.State != events.RolloutDraining):
		return // it says nothing that a service has to do
	case d.Event.Type == events.TypeRollout:
		kind = reload.Draining
	}
	e.start(e.feed(m.work, reload.Event{Kind: kind, Announcement: a, Previous: data.PreviousVersionID, NotAfter: data.NotAfter}, loaded{}))
}

// traceHeader is where [propagation.TraceContext] keeps a trace context.
const traceHeader = "traceparent"

// traceparent returns the trace context of ctx as W3C writes it, "" for none.
func traceparent(ctx context.Context) string {
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c.Get(traceHeader)
}

// withTrace returns ctx with the trace context that [traceparent] wrote.
func withTrace(ctx context.Context, text string) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceHeader: text})
}

// errStopped is returned by a refresh of a Manager that is closed.
var errStopped = errors.New("the manager is closed")

// refresh asks for a read of the current version, and waits until no reload is
// under way, whether it was this one or another.
func (e *entry) refresh(ctx context.Context) error {
	e.start(e.feed(e.m.work, reload.Event{Kind: reload.RefreshAsked}, loaded{}))
	select {
	case <-e.settled():
	case <-ctx.Done():
		return ctx.Err()
	case <-e.m.work.Done():
		return errStopped
	}
	return nil
}

// settled returns a channel that is closed once no reload is under way, also none
// that was queued behind it.
func (e *entry) settled() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	idle := e.idle
	if idle == nil {
		idle = make(chan struct{})
	}
	if e.state.Busy() {
		e.idle = idle
	} else {
		close(idle)
	}
	return idle
}
