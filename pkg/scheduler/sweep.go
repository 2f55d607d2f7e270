package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/guard"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Result counts what a sweep did.
type Result struct {
	// Secrets is how many secrets there are by what was decided for them.
	Secrets map[Reason]int
	// Findings is how many findings with each code there are about tags.
	Findings map[secret.FindingCode]int
	// Armed is how many timers were set or moved, Announced how many versions
	// nobody had announced, Discovered and Gone how many secrets were found to be
	// managed or to be no longer.
	Armed, Announced, Discovered, Gone int
}

func newResult() Result {
	return Result{Secrets: map[Reason]int{}, Findings: map[secret.FindingCode]int{}}
}

// add counts what another part of the sweep did.
func (r *Result) add(o Result) {
	for reason, n := range o.Secrets {
		r.Secrets[reason] += n
	}
	for code, n := range o.Findings {
		r.Findings[code] += n
	}
	r.Armed += o.Armed
	r.Announced += o.Announced
	r.Discovered += o.Discovered
	r.Gone += o.Gone
}

func (r *Result) total() int {
	n := 0
	for _, c := range r.Secrets {
		n += c
	}
	return n
}

// shelf is one store, with what the last sweeps found there: an unchanged secret
// with its timer in place costs no call on the bus. It is swept by one sweep at
// a time, which holds busy.
type shelf struct {
	name string
	st   *store.Store

	busy  sync.Mutex
	round int  // of the sweep that is under way, or was last
	done  bool // the last one went well

	last atomic.Pointer[tally] // of the last complete sweep

	mu    sync.Mutex
	full  int // round of the next sweep that takes nothing from memory
	seen  map[secret.ID]remembered
	noted map[string]noted // :: path → findings that have been logged
}

// remembered is some 100 bytes, and there may be a million.
type remembered struct {
	round   int // in which it was last seen
	version secret.VersionID
	at      time.Time
	reason  Reason
	// path and mark are those of a discovered secret: where it is, and what was
	// announced of it.
	path string
	mark uint64
}

type noted struct {
	round int
	text  string
}

func shelves(stores *store.Set) []*shelf {
	var out []*shelf
	for _, st := range stores.All() {
		out = append(out, (&shelf{name: st.Name(), st: st}).blank())
	}
	return out
}

func (sh *shelf) remembers(id secret.ID) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, ok := sh.seen[id]
	return ok
}

// sweep is what the passes over the stores share.
type sweep struct {
	s     *Scheduler
	again bool                    // only what went wrong last time
	armed map[secret.Key]struct{} // :: timers that are on the bus

	mu       sync.Mutex
	result   Result
	complete map[string]bool        // :: store → its listing came to its end
	missing  map[secret.ID]struct{} // discovered before, and not listed now
}

// Sweep compares every secret in its store with the bus once. The stores are
// swept side by side, and one that fails does not keep the others from it; the
// error joins theirs. A store that another Sweep is still busy with is left to
// that one.
func (s *Scheduler) Sweep(ctx context.Context) (Result, error) { return s.sweep(ctx, false) }

func (s *Scheduler) sweep(ctx context.Context, again bool) (Result, error) {
	ctx, span := s.tracer.Start(ctx, "sweep")
	defer span.End()
	begin := time.Now()
	w := &sweep{s: s, again: again, result: newResult(), complete: map[string]bool{}, missing: map[secret.ID]struct{}{}}
	err := w.run(ctx)
	s.observe(ctx, w.result, time.Since(begin), err)
	return w.result, err
}

func (w *sweep) run(ctx context.Context) error {
	var err error
	if w.armed, err = w.s.Bus.ArmedKeys(ctx); err != nil {
		return fmt.Errorf("list the timers: %w", err)
	}
	errs := make([]error, len(w.s.shelves), len(w.s.shelves)+1)
	var g errgroup.Group
	for i, sh := range w.s.shelves {
		g.Go(func() error {
			errs[i] = guard.Call(ctx, w.s.log, "the sweep of a store", func() error { return w.shelf(ctx, sh) })
			return nil
		})
	}
	_ = g.Wait() // its functions return nil
	return errors.Join(append(errs, w.leftovers(ctx))...)
}

// shelf sweeps one store.
func (w *sweep) shelf(ctx context.Context, sh *shelf) error {
	if !w.s.Catalog.Manages(sh.name) || !sh.busy.TryLock() {
		return nil
	}
	defer sh.busy.Unlock()
	if w.again && sh.done {
		return nil
	}
	p := newPass(w, sh)
	complete, err := p.run(ctx)
	sh.done = err == nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.add(p.result)
	w.complete[sh.name] = complete
	if complete {
		sh.last.Store(&tally{time.Now(), p.result})
		for _, id := range p.end() {
			w.missing[id] = struct{}{}
		}
	}
	return err
}

// leftovers takes away what is on the bus for secrets that are neither
// configured nor listed any more: their timers, and what was announced of their
// discovery.
func (w *sweep) leftovers(ctx context.Context) error {
	var f failures
	missing, err := w.discoveredBefore(ctx)
	f.add(err)
	for key := range w.armed {
		if id, err := secret.IDFromKey(key); err == nil { // others are no names that this program arms
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
// now: those that are missing in a listing, and in a full sweep all of which the
// log tells.
func (w *sweep) discoveredBefore(ctx context.Context) (map[secret.ID]struct{}, error) {
	full := w.s.sweeps.Add(1)%fullEvery == 1
	if !full || !w.s.discovers() {
		return w.missing, nil
	}
	keys, err := w.s.Bus.DiscoveredKeys(ctx)
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
	if e, ok := w.s.Catalog.Lookup(id); ok && e.Origin == catalog.Configured {
		return true
	}
	for _, sh := range w.s.shelves {
		if w.s.Catalog.Discovery(sh.name) != nil && sh.remembers(id) {
			return true
		}
	}
	return false
}

// leftover looks at one secret that is not managed, as far as is known. One that
// was discovered in a store that was not listed to its end stays as it is, and
// of any other the store is asked once more: a listing may have missed it.
func (w *sweep) leftover(ctx context.Context, id secret.ID) error {
	last, err := w.s.Bus.Last(ctx, events.TypeDiscovered, id)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return fmt.Errorf("%s: %w", id, err)
	}
	spec, known := last.Event.Data.Spec()
	if known && w.s.Catalog.Discovery(spec.Store) != nil {
		if !w.complete[spec.Store] {
			return nil
		}
		if _, _, err := w.s.Catalog.Describe(ctx, spec); !errors.Is(err, catalog.ErrUnknownSecret) {
			if errors.Is(err, catalog.ErrInvalidTags) {
				err = nil // its own pass has said so
			}
			return err
		}
	}
	if known {
		if _, err := w.s.Bus.PublishAfter(ctx, events.Gone(w.s.Source, time.Now(), spec), last.Seq); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		w.s.forgot(ctx, spec)
		w.result.Gone++
	}
	if _, armed := w.armed[id.Key()]; !armed {
		return nil
	}
	return w.s.Bus.Disarm(ctx, events.TypeNearExpiry, id)
}

// failures collects errors: the first few as they are, the others by number.
type failures struct {
	mu    sync.Mutex
	first []error
	more  int
}

const maxFailures = 10

func (f *failures) add(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.first) < maxFailures {
		f.first = append(f.first, err)
		return
	}
	f.more++
}

func (f *failures) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.more == 0 {
		return errors.Join(f.first...)
	}
	return errors.Join(append(f.first, fmt.Errorf("%d more secrets failed", f.more))...)
}
