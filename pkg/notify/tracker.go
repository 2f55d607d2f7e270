package notify

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// gather is the least time between two passes, so that ten thousand reports
	// are one decision.
	gather = 50 * time.Millisecond
	// freshFor is how long reports count as fresh after they were read from
	// their start.
	freshFor = 5 * time.Minute
)

// tracker follows every rollout. What it knows comes from the bus; the watches
// put it in, passes act on it.
type tracker struct {
	bus     Bus
	catalog *catalog.Catalog
	source  string
	log     *slog.Logger
	tracer  trace.Tracer
	metrics *instruments
	limit   int           // of rollouts that are acted upon at once
	kick    chan struct{} // has a value when there is something to look at
	// reportsSynced and logSynced are closed once the bus has handed over the
	// reports and the log that were there at the start, loaded after both.
	reportsSynced, logSynced, loaded chan struct{}

	clock serverClock // says now in every decision; the deadlines are times of it

	mu        sync.Mutex
	fleet     *fleet
	secrets   map[secret.ID]*tracked
	confirmed map[secret.ID]map[string]events.Confirmed // :: secret → consumer → last confirmation
	states    map[events.RolloutState]int64             // :: state → rollouts in it
	dirty     map[*tracked]struct{}
	deadlines deadlineQueue
	synced    time.Time // when the reports were last read from their start
	reading   bool      // they are being read from their start
	begun     bool      // the watch that reads them has said since when the stream is
	reread    func()    // has them read from their start

	contradictions contradictions
	metered        []*tracked // have series of their own
	secretMetrics  int        // the greatest length of metered
}

// newTracker returns a tracker that knows nothing yet: nothing is decided before the
// records and the log have been read, see [tracker.load].
func newTracker(cfg Config, m *instruments, tracer trace.Tracer) *tracker {
	return &tracker{
		bus: cfg.Bus, catalog: cfg.Catalog, source: cfg.Source, log: cfg.Logger, tracer: tracer, metrics: m, limit: cfg.Concurrency,
		kick: make(chan struct{}, 1), reportsSynced: make(chan struct{}), logSynced: make(chan struct{}), loaded: make(chan struct{}),
		fleet: newFleet(), secrets: map[secret.ID]*tracked{}, confirmed: map[secret.ID]map[string]events.Confirmed{}, states: map[events.RolloutState]int64{},
		dirty: map[*tracked]struct{}{}, reread: func() {}, contradictions: newContradictions(), secretMetrics: max(0, cfg.SecretMetrics),
	}
}

// watchLog follows announcements, rollouts and discoveries until ctx ends. What it
// hears changes only what is known; passes act on it.
func (t *tracker) watchLog(ctx context.Context) error {
	return t.bus.WatchLog(ctx, []events.Type{events.TypeRotated, events.TypeRollout, events.TypeDiscovered}, func(ctx context.Context, a events.Announcement) error {
		t.mu.Lock()
		defer t.mu.Unlock()
		switch a.Event.Type {
		case events.TypeRotated:
			t.announced(a.Event.Data)
			t.secrets[a.Event.Data.SecretID].heard(a.Event.Data, trace.SpanContextFromContext(ctx))
		case events.TypeDiscovered:
			t.discovered(a.Event.Data)
		default:
			t.changed(a)
		}
		return nil
	}, func() { close(t.logSynced) })
}

// announced takes an announcement. An older rollout has to end before the new
// one begins, see [tracker.decide].
func (t *tracker) announced(d events.Data) {
	tr := t.secrets[d.SecretID]
	switch {
	case tr == nil:
		tr = t.track(rollout.Begin(d))
	case tr.next == nil && tr.rollout.Is(d.VersionID, d.OccurredAt):
		return
	default:
		tr.next = &d
	}
	t.touch(tr)
}

// heard notes what the log says of the last announced version.
func (tr *tracked) heard(d events.Data, cause trace.SpanContext) {
	tr.cause, tr.traced, tr.made, tr.notAfter = cause, d.VersionID, d.OccurredAt, d.NotAfter
}

// delivered takes an announcement that came to be fanned out. It may be one
// that was held up and is older than what the log said since. As a rule the log
// has said it already; after a log that was lost and begun anew, a follower
// misses as many entries as it had before.
func (t *tracker) delivered(d events.Data) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tr := t.secrets[d.SecretID]; tr == nil || tr.before(d.OccurredAt) {
		t.announced(d)
	}
}

// changed takes a rollout event from the log.
func (t *tracker) changed(a events.Announcement) {
	d := a.Event.Data
	tr := t.secrets[d.SecretID]
	switch {
	case tr == nil:
		tr = t.track(rollout.Resume(d))
		tr.seq = a.Seq
	case a.Seq <= tr.seq:
		return
	default:
		t.adopt(tr, a)
	}
	t.touch(tr)
}

// adopt takes over a rollout event. One about another version than the ones
// known here only says where the next event has to go.
func (t *tracker) adopt(tr *tracked, a events.Announcement) {
	tr.seq = a.Seq
	d := a.Event.Data
	switch {
	case a.Seq == 0 || d.Rollout == nil:
	case tr.next != nil && rollout.Begin(*tr.next).Is(d.VersionID, d.Rollout.StartedAt):
		tr.next = nil
		t.set(tr, rollout.Resume(d))
	case tr.rollout.Is(d.VersionID, d.Rollout.StartedAt):
		t.set(tr, rollout.Resume(d))
	}
}

// track begins to follow a rollout; t.mu is held.
func (t *tracker) track(r rollout.Rollout) *tracked {
	tr := &tracked{rollout: r.Shrunk(), at: -1}
	t.secrets[r.SecretID] = tr
	t.states[shown(r)]++
	t.meterSecret(tr)
	return tr
}

// set makes r the rollout of tr; t.mu is held. Every change of a rollout goes through
// set, so that the numbers of rollouts by state are right.
func (t *tracker) set(tr *tracked, r rollout.Rollout) {
	t.states[shown(tr.rollout)]--
	t.states[shown(r)]++
	if r.Ended() || !tr.rollout.Is(r.VersionID, r.StartedAt) {
		tr.notified = nil
	}
	tr.rollout = r.Shrunk()
}

// shown returns the state that others see: to them a rollout that has not been
// published yet is rolling, and one whose retirement is overdue has stalled.
func shown(r rollout.Rollout) events.RolloutState {
	switch {
	case r.State == "":
		return events.RolloutRolling
	case r.Overdue:
		return events.RolloutStalled
	default:
		return r.State
	}
}

// touch has the next pass look at tr; t.mu is held. One that has ended, with nothing
// announced after it, needs no look and costs nothing any more.
func (t *tracker) touch(tr *tracked) {
	if tr.rollout.Ended() && tr.next == nil {
		t.deadlines.set(tr, time.Time{})
		delete(t.dirty, tr)
		return
	}
	t.dirty[tr] = struct{}{}
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// touched is touch for what the fleet reports.
func (t *tracker) touched(id secret.ID) {
	if tr := t.secrets[id]; tr != nil {
		t.touch(tr)
	}
}

// watchFleet follows the fleet until ctx ends, and reads all of it again whenever
// refresh asks for that.
func (t *tracker) watchFleet(ctx context.Context) error {
	for t.readClock(ctx) {
		round, cancel := context.WithCancel(ctx)
		t.mu.Lock()
		t.fleet.begin()
		t.reading, t.reread, t.begun = true, cancel, false
		t.mu.Unlock()
		err := t.bus.WatchFleet(round, t.recorded)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

// recorded takes a record of the stream of uses. When the stream was made anew, all
// of it is read again: what it does not have any more is only the past.
func (t *tracker) recorded(e events.FleetEvent) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case e.Synced:
		t.sync()
	case !e.Since.IsZero():
		if t.begun && !e.Since.Equal(t.fleet.since) {
			t.reread()
		}
		t.fleet.since, t.begun = e.Since, true
	default:
		t.clock.hear(e.At)
		t.fleet.apply(e, t.clock.now(), t.touched)
		t.contradictions.see(e)
	}
	return nil
}

// touchAll has the next pass look at every rollout that has not ended.
func (t *tracker) touchAll() {
	for _, tr := range slices.Clone(t.deadlines) { // touch may change it
		t.touch(tr)
	}
}

// sync notes that every record has been heard of.
func (t *tracker) sync() {
	t.fleet.sweep(t.touched)
	if t.synced.IsZero() {
		close(t.reportsSynced)
	}
	t.synced, t.reading = t.clock.now(), false
	t.touchAll()
}

// refresh has the records read from their start, unless that is being done. An
// instance that another process has forgotten would block for ever otherwise:
// nothing announces that a record was purged, see watchForgotten.
func (t *tracker) refresh() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.reading {
		t.reread()
	}
}

// load waits until the reports and the log have been read, and returns false
// when ctx ends before. To act earlier would be harmless and wasteful: a
// publication fails if the rest of the log has a later event of its rollout.
func (t *tracker) load(ctx context.Context) bool {
	for _, synced := range []chan struct{}{t.reportsSynced, t.logSynced} {
		select {
		case <-synced:
		case <-ctx.Done():
			return false
		}
	}
	close(t.loaded)
	return true
}
