package notify

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// debounce is how long changes of one secret are gathered before it is looked
// at.
const debounce = 20 * time.Millisecond

// retryPublish is how soon a transition that could not be published is tried
// again.
const retryPublish = 5 * time.Second

// tracker follows every rollout. One goroutine owns what it knows; the mutex is
// for those who want to see it.
type tracker struct {
	n     *Notifier
	fleet *fleet

	mu       sync.Mutex
	rollouts map[secret.ID]*tracked
	synced   bool

	dirty map[secret.ID]struct{} // :: secrets to look at in the next round
	input chan func()
}

// tracked is a rollout and where the bus stands with it.
type tracked struct {
	Rollout
	seq       uint64 // of the last rollout event of the secret
	announced uint64 // of the announcement
}

func newTracker(n *Notifier) *tracker {
	return &tracker{n: n, fleet: newFleet(), rollouts: map[secret.ID]*tracked{}, dirty: map[secret.ID]struct{}{}, input: make(chan func(), 64)}
}

// do runs f in the goroutine that owns the tracker.
func (t *tracker) do(ctx context.Context, f func()) error {
	select {
	case t.input <- f:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *tracker) logged(ctx context.Context, a events.Announcement) error {
	return t.do(ctx, func() { t.take(ctx, a) })
}

func (t *tracker) reported(ctx context.Context, e events.ReportEvent) error {
	return t.do(ctx, func() {
		if e.Synced {
			t.mu.Lock()
			t.synced = true
			t.mu.Unlock()
			for id := range t.rollouts {
				t.dirty[id] = struct{}{}
			}
			return
		}
		for _, id := range t.fleet.apply(e) {
			t.dirty[id] = struct{}{}
		}
	})
}

// run owns the tracker until ctx ends: it takes input, and looks at what has
// changed or come to its deadline.
func (t *tracker) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-t.input:
			f()
			if len(t.dirty) > 0 {
				timer.Reset(debounce)
			}
		case <-timer.C:
			timer.Reset(t.round(ctx, time.Now()))
		}
	}
}

// round looks at every secret that has changed or whose deadline has passed,
// and returns how long until the next one.
func (t *tracker) round(ctx context.Context, now time.Time) time.Duration {
	if !t.ready() {
		return debounce
	}
	wait := time.Hour
	for id, r := range t.rollouts {
		if r.State != events.RolloutRolling {
			continue
		}
		if spec, ok := t.n.cfg.Specs(id); ok && spec.RolloutDeadline() > 0 {
			if left := r.Since.Add(spec.RolloutDeadline()).Sub(now); left <= 0 {
				t.dirty[id] = struct{}{}
			} else {
				wait = min(wait, left)
			}
		}
	}
	failed := false
	for id := range t.dirty {
		delete(t.dirty, id)
		if r, ok := t.rollouts[id]; ok && !t.look(ctx, now, id, r) {
			failed = true
			t.dirty[id] = struct{}{}
		}
		if failed {
			return retryPublish
		}
	}
	return wait
}

func (t *tracker) ready() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.synced
}

// take adopts what the log says: a new announcement begins a rollout and
// replaces the one before, a rollout event is how whoever published it sees it.
func (t *tracker) take(ctx context.Context, a events.Announcement) {
	id := a.Event.Data.SecretID
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rollouts[id]
	if r == nil {
		r = &tracked{}
		t.rollouts[id] = r
	}
	switch {
	case a.Event.Type == events.TypeRotated && a.Seq > r.announced:
		if old, why := Replace(time.Now(), r.Rollout); why != ReasonNone && old.Event.VersionID != a.Event.Data.VersionID {
			r.Rollout = old
			t.publish(ctx, r, why)
		}
		if r.Event.VersionID != a.Event.Data.VersionID {
			r.Rollout = begin(a.Event)
		}
		r.announced = a.Seq
	case a.Event.Type == events.TypeRollout && a.Seq > r.seq:
		r.seq = a.Seq
		if a.Event.Data.VersionID == r.Event.VersionID || r.announced == 0 {
			r.Event = a.Event.Data
			r.Event.Rollout = nil
			r.Rollout = r.adopt(a.Event)
		}
	}
	t.dirty[id] = struct{}{}
}

// look moves one rollout on, and returns false when the bus could not be told.
func (t *tracker) look(ctx context.Context, now time.Time, id secret.ID, r *tracked) bool {
	spec, ok := t.n.cfg.Specs(id)
	if !ok {
		spec = secret.Spec{ID: id}
	}
	blocking, applied := events.Blocking(t.fleet.of(id), spec.Services, id, r.Event.VersionID)
	t.mu.Lock()
	defer t.mu.Unlock()
	before := r.Rollout
	next, why := Advance(now, r.Rollout, Facts{Applied: applied, Blocking: blocking, Grace: spec.GracePeriod(), Deadline: spec.RolloutDeadline()})
	r.Rollout = next
	if why != ReasonNone && !t.publish(ctx, r, why) {
		r.Rollout = before
		return false
	}
	return r.State != events.RolloutConverged || t.arm(ctx, r)
}

// publish tells the bus where the rollout is, directly after the last event of
// its secret; the caller holds the lock. Somebody else who was quicker has seen
// the same: what they published is on its way here.
func (t *tracker) publish(ctx context.Context, r *tracked, why Reason) bool {
	e := events.RolloutChanged(t.n.cfg.Source, r.data(r.Since))
	seq, err := t.n.cfg.Bus.PublishAfter(ctx, e, r.seq)
	if errors.Is(err, events.ErrConflict) {
		return true
	}
	if err != nil {
		t.n.log.LogAttrs(ctx, slog.LevelWarn, "rollout.publish", slog.String("secret_id", string(r.Event.SecretID)), slog.String("error", err.Error()))
		return false
	}
	r.seq = seq
	t.n.moved(ctx, r.Rollout, why)
	return true
}

// arm sets the timer of the retirement of what came before.
func (t *tracker) arm(ctx context.Context, r *tracked) bool {
	if r.Event.PreviousVersionID == "" {
		return true // nothing came before
	}
	if _, err := t.n.cfg.Bus.Arm(ctx, r.retire(t.n.cfg.Source), r.RetireAt); err != nil {
		t.n.log.LogAttrs(ctx, slog.LevelWarn, "rollout.arm", slog.String("secret_id", string(r.Event.SecretID)), slog.String("error", err.Error()))
		return false
	}
	return true
}

// Status is a rollout as others may see it.
type Status struct {
	SecretID secret.ID
	Rollout
}

func (t *tracker) snapshot() []Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Status, 0, len(t.rollouts))
	for id, r := range t.rollouts {
		out = append(out, Status{id, r.Rollout})
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.SecretID, b.SecretID) })
	return out
}

// observe reports how many rollouts are in each state.
func (t *tracker) observe(o metric.Observer, rollouts, instances metric.Int64Observable) {
	count := map[events.RolloutState]int64{events.RolloutRolling: 0, events.RolloutStalled: 0, events.RolloutConverged: 0}
	t.mu.Lock()
	for _, r := range t.rollouts {
		count[r.State]++
	}
	t.mu.Unlock()
	for s, n := range count {
		o.ObserveInt64(rollouts, n, metric.WithAttributes(attribute.String("state", string(s))))
	}
	for s, n := range t.fleet.sizes() {
		o.ObserveInt64(instances, n, metric.WithAttributes(attribute.String("service", s)))
	}
}
