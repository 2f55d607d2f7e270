package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/guard"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// sweep is one comparison of all stores with the bus.
type sweep struct {
	s     *Scheduler
	again bool                    // only what failed last time
	full  bool                    // no secret is skipped
	armed map[secret.Key]struct{} // :: timers that were on the bus at its begin

	mu       sync.Mutex
	result   Result
	complete map[string]bool        // :: store → its listing came to its end
	missing  map[secret.ID]struct{} // discovered before, and not listed now
}

// Sweep compares every secret in its store with the bus once. The stores are
// swept side by side, and one that fails does not keep the others from it; the
// error joins theirs. A store that another Sweep is still busy with is left to
// that one.
func (s *Scheduler) Sweep(ctx context.Context) (Result, error) { return s.sweep(ctx, false, false) }

func (s *Scheduler) sweep(ctx context.Context, again, full bool) (Result, error) {
	ctx, span := s.tracer.Start(ctx, "sweep")
	defer span.End()
	begin := time.Now()
	w := &sweep{s: s, again: again, full: full, result: newResult(), complete: map[string]bool{}, missing: map[secret.ID]struct{}{}}
	err := w.run(ctx)
	s.observe(ctx, w.result, time.Since(begin), err)
	return w.result, err
}

func (w *sweep) run(ctx context.Context) error {
	var err error
	if w.armed, err = w.s.cfg.Bus.ArmedKeys(ctx); err != nil {
		return fmt.Errorf("list the timers: %w", err)
	}
	errs := make([]error, len(w.s.stores), len(w.s.stores)+1)
	var g errgroup.Group
	for i, st := range w.s.stores {
		g.Go(func() error {
			errs[i] = guard.Call(ctx, w.s.cfg.Logger, "the sweep of a store", func() error { return w.store(ctx, st) })
			return nil
		})
	}
	_ = g.Wait() // its functions return nil
	return errors.Join(append(errs, w.leftovers(ctx))...)
}

// store sweeps one store.
func (w *sweep) store(ctx context.Context, st *storeState) error {
	if !w.s.cfg.Catalog.Manages(st.name) || !st.busy.TryLock() {
		return nil
	}
	defer st.busy.Unlock()
	if w.again && st.done {
		return nil
	}
	full := st.memory.begin() || w.full
	part := &storeSweep{s: w.s, state: st, armed: w.armed, full: full, counts: counter{result: newResult()}}
	complete, err := part.run(ctx)
	st.done = err == nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.add(part.counts.result)
	w.complete[st.name] = complete
	if complete {
		part.counts.result.sort()
		st.last.Store(&tally{time.Now(), part.counts.result})
		for _, id := range st.memory.end(part.full) {
			w.missing[id] = struct{}{}
		}
	}
	return err
}

// leftovers removes what is on the bus for secrets that are neither configured
// nor listed any more: their timers, and the announcements of their discovery.
func (w *sweep) leftovers(ctx context.Context) error {
	var f failures
	missing, err := w.discoveredBefore(ctx)
	f.add(err)
	for key := range w.armed {
		if id, err := secret.IDFromKey(key); err == nil { // this program arms no timer with another name
			missing[id] = struct{}{}
		}
	}
	for id := range missing {
		if ctx.Err() != nil {
			break
		}
		if !w.managed(id) {
			f.add(w.leftover(ctx, id))
		}
	}
	return errors.Join(f.err(), ctx.Err())
}

// discoveredBefore returns the secrets that were discovered once and may not be
// now: those that are missing in a listing, and in a full sweep all that the log
// names.
func (w *sweep) discoveredBefore(ctx context.Context) (map[secret.ID]struct{}, error) {
	full := w.s.sweeps.Add(1)%fullEvery == 1
	if !full || !w.s.discovers() {
		return w.missing, nil
	}
	keys, err := w.s.cfg.Bus.DiscoveredKeys(ctx)
	for key := range keys {
		if id, err := secret.IDFromKey(key); err == nil {
			w.missing[id] = struct{}{}
		}
	}
	return w.missing, err
}

// managed reports whether a secret is configured, or was in the last listing of
// a store.
func (w *sweep) managed(id secret.ID) bool {
	if e, ok := w.s.cfg.Catalog.Lookup(id); ok && e.Origin == catalog.Configured {
		return true
	}
	for _, st := range w.s.stores {
		if w.s.cfg.Catalog.Discovery(st.name) == nil {
			continue
		}
		if _, ok := st.memory.get(id); ok {
			return true
		}
	}
	return false
}

// leftover removes one secret that is not managed, as far as is known.
func (w *sweep) leftover(ctx context.Context, id secret.ID) error {
	last, err := w.s.cfg.Bus.Last(ctx, events.TypeDiscovered, id)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return fmt.Errorf("%s: %w", id, err)
	}
	if spec, known := last.Event.Data.Spec(); known {
		if gone, err := w.gone(ctx, spec); err != nil || !gone {
			return err
		}
		if _, err := w.s.cfg.Bus.PublishAfter(ctx, events.Gone(w.s.cfg.Source, time.Now(), spec), last.Seq); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		w.s.logGone(ctx, spec)
		w.result.Gone++
	}
	if _, armed := w.armed[id.Key()]; !armed {
		return nil
	}
	return w.s.cfg.Bus.Disarm(ctx, events.TypeNearExpiry, id)
}

// gone reports whether a secret that was discovered is not managed any more. One
// in a store whose listing did not come to its end is not known to be gone. Any
// other is read once more, because a listing may have missed it.
func (w *sweep) gone(ctx context.Context, spec secret.Spec) (bool, error) {
	if w.s.cfg.Catalog.Discovery(spec.Store) == nil {
		return true, nil
	}
	if !w.complete[spec.Store] {
		return false, nil
	}
	_, _, err := w.s.cfg.Catalog.Describe(ctx, spec)
	switch {
	case errors.Is(err, catalog.ErrUnknownSecret):
		return true, nil
	case errors.Is(err, catalog.ErrInvalidTags):
		return false, nil // the sweep of its store has reported it
	default:
		return false, err
	}
}
