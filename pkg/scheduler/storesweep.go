package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/guard"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

// atOnce is how many secrets of one store are compared with the bus together.
const atOnce = 16

// storeSweep is the sweep of one store: it lists the secrets and skips those that
// are as an earlier sweep left them. Every other goes to the reconciler.
type storeSweep struct {
	s      *Scheduler
	state  *storeState
	armed  map[secret.Key]struct{} // :: timers that are on the bus
	full   bool                    // no secret is skipped
	counts counter
}

// run compares every secret that the store lists. Complete is whether the listing
// came to its end; a secret that it did not show is not in the store then.
func (w *storeSweep) run(ctx context.Context) (complete bool, err error) {
	var f failures
	var g errgroup.Group
	g.SetLimit(atOnce)
	do := func(work func() error) {
		g.Go(func() error {
			f.add(guard.Call(ctx, w.s.cfg.Logger, "the sweep of a secret", work))
			return nil
		})
	}
	broken := w.list(ctx, func(m secret.Metadata) {
		do(func() error { return w.listed(ctx, m) })
	}, func(spec secret.Spec) {
		do(func() error { return w.absent(ctx, spec) })
	})
	_ = g.Wait() // its functions return nil
	if broken != nil {
		return false, errors.Join(f.err(), broken)
	}
	return true, f.err()
}

// list calls present with each secret that the store lists, and then absent with
// each that is configured and was not among them.
func (w *storeSweep) list(ctx context.Context, present func(secret.Metadata), absent func(secret.Spec)) error {
	listed := map[secret.ID]struct{}{}
	for meta, err := range w.state.store.List(ctx) {
		if err != nil {
			return err
		}
		if e, ok := w.s.cfg.Catalog.At(w.state.name, meta.Path); ok && e.Origin == catalog.Configured {
			listed[e.Spec.ID] = struct{}{}
		}
		present(meta)
	}
	for e := range w.s.cfg.Catalog.In(w.state.name) {
		if _, ok := listed[e.Spec.ID]; !ok && e.Origin == catalog.Configured {
			absent(e.Spec)
		}
	}
	return nil
}

// listed compares a secret that the store shows.
func (w *storeSweep) listed(ctx context.Context, m secret.Metadata) error {
	e, managed := w.s.cfg.Catalog.Resolve(w.state.name, m)
	switch {
	case !managed:
		return nil
	case e.Origin == catalog.Discovered:
		return w.discovered(ctx, e, m)
	}
	w.note(ctx, m.Path, e)
	return w.secret(ctx, e.Spec, Facts{Known: true, Meta: m})
}

// absent compares a configured secret that the store did not list. A listing lags,
// and leaves out what was deleted, so that the store is asked for the secret.
func (w *storeSweep) absent(ctx context.Context, spec secret.Spec) error {
	e, m, err := w.s.cfg.Catalog.Describe(ctx, spec)
	if err != nil && !errors.Is(err, secret.ErrNotFound) {
		return fmt.Errorf("%s: %w", spec.ID, err)
	}
	return w.secret(ctx, e.Spec, Facts{Known: err == nil, Meta: m, Deleted: Deletion(err)})
}

// discovered compares a discovered secret if its ID is its own and its tags can
// be carried out.
func (w *storeSweep) discovered(ctx context.Context, e catalog.Entry, m secret.Metadata) error {
	id, mark := e.Spec.ID, fingerprint(e.Spec)
	was, known := w.state.memory.get(id)
	c, err := w.s.reconciler.claim(ctx, e, known && !w.full && was.path == e.Spec.Path && was.mark == mark)
	if err != nil {
		return err
	}
	if c.refusal != "" {
		mark = 0 // the log is read again next time
	}
	if c.owned {
		w.state.memory.edit(id, func(r *remembered) { r.path, r.mark = e.Spec.Path, mark })
	}
	w.counts.add(func(r *Result) { r.Discovered += one(c.published) })
	if c.refusal == "" {
		w.note(ctx, m.Path, c.entry)
		return w.secret(ctx, e.Spec, Facts{Known: true, Meta: m})
	}
	w.note(ctx, m.Path, c.entry)
	w.counts.add(func(r *Result) { r.Secrets[c.refusal]++ })
	return w.s.reconciler.suspend(ctx, c, w.hasTimer(id))
}

// secret compares one secret unless it is unchanged.
func (w *storeSweep) secret(ctx context.Context, spec secret.Spec, f Facts) error {
	out := outcome{version: f.Meta.Current().ID, decision: Evaluate(time.Now(), spec, f)}
	if !w.unchanged(spec.ID, out) {
		var err error
		out, err = w.s.reconciler.reconcile(ctx, spec, f, w.hasTimer(spec.ID))
		w.counts.add(func(r *Result) {
			r.Armed += one(out.armed)
			r.Announced += one(out.announced)
		})
		if err != nil {
			return err
		}
	}
	d := out.decision
	w.state.memory.edit(spec.ID, func(r *remembered) { r.version, r.at, r.reason = out.version, d.At, d.Reason })
	end := spec.NotAfter(f.Meta, f.Meta.Current())
	w.counts.add(func(r *Result) { r.count(spec.ID, out.version, d.Reason, end) })
	return nil
}

// unchanged reports whether an earlier sweep left the secret as it should be and
// its timer is still there.
func (w *storeSweep) unchanged(id secret.ID, now outcome) bool {
	d := now.decision
	was, ok := w.state.memory.get(id)
	if !ok || w.full || w.hasTimer(id) != d.Arm || was.version != now.version || !was.at.Equal(d.At) || was.reason != d.Reason {
		return false
	}
	switch d.Reason {
	case ReasonScheduled, ReasonDisabled, ReasonNoLifetime, ReasonDeleted:
		return true
	default:
		return false
	}
}

// hasTimer reports whether the timer of a secret was on the bus when the sweep
// began.
func (w *storeSweep) hasTimer(id secret.ID) bool {
	_, ok := w.armed[id.Key()]
	return ok
}

// note counts the findings about a secret, and logs them if they have changed.
func (w *storeSweep) note(ctx context.Context, path string, e catalog.Entry) {
	if len(e.Findings) == 0 {
		return
	}
	w.counts.add(func(r *Result) {
		for _, f := range e.Findings {
			r.Findings[f.Code]++
		}
	})
	if w.state.memory.note(path, findingsText(e)) {
		w.s.logFindings(ctx, w.state.name, path, e)
	}
}
