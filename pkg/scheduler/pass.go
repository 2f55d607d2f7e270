package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/guard"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// atOnce is how many secrets of one store are compared with the bus together.
const atOnce = 16

// pass is one sweep of one store.
type pass struct {
	*sweep
	*shelf
	all bool // nothing is taken from memory

	mu     sync.Mutex // of result
	result Result
}

func newPass(w *sweep, sh *shelf) *pass {
	sh.round++
	all := sh.round >= sh.full
	return &pass{sweep: w, shelf: sh, all: all, result: newResult()}
}

// run looks at every secret that the store lists. What a complete listing does
// not show the store does not have.
func (p *pass) run(ctx context.Context) (complete bool, err error) {
	var f failures
	var g errgroup.Group
	g.SetLimit(atOnce)
	do := func(work func() error) {
		g.Go(func() error {
			f.add(guard.Call(ctx, p.s.log, "the sweep of a secret", work))
			return nil
		})
	}
	broken := p.list(ctx, func(m secret.Metadata) {
		do(func() error { return p.listed(ctx, m) })
	}, func(spec secret.Spec) {
		do(func() error { return p.secret(ctx, spec, Facts{}) })
	})
	_ = g.Wait() // its functions return nil
	if broken != nil {
		return false, errors.Join(f.err(), broken)
	}
	return true, f.err()
}

// list calls present with each secret that the store lists, and then absent with
// each that is configured and was not among them.
func (p *pass) list(ctx context.Context, present func(secret.Metadata), absent func(secret.Spec)) error {
	listed := map[secret.ID]struct{}{}
	for meta, err := range p.st.List(ctx) {
		if err != nil {
			return err
		}
		if e, ok := p.s.Catalog.At(p.name, meta.Path); ok && e.Origin == catalog.Configured {
			listed[e.Spec.ID] = struct{}{}
		}
		present(meta)
	}
	for e := range p.s.Catalog.In(p.name) {
		if _, ok := listed[e.Spec.ID]; !ok && e.Origin == catalog.Configured {
			absent(e.Spec)
		}
	}
	return nil
}

// end forgets what a complete pass has not seen, and returns the secrets among
// it that were discovered before.
func (p *pass) end() []secret.ID {
	p.shelf.mu.Lock()
	defer p.shelf.mu.Unlock()
	if p.all {
		p.full = p.round + fullEvery
	}
	var missing []secret.ID
	for id, was := range p.seen {
		if was.round == p.round {
			continue
		}
		if delete(p.seen, id); was.path != "" {
			missing = append(missing, id)
		}
	}
	maps.DeleteFunc(p.noted, func(_ string, n noted) bool { return n.round != p.round })
	return missing
}

// listed looks at one secret that the store shows.
func (p *pass) listed(ctx context.Context, m secret.Metadata) error {
	e, managed := p.s.Catalog.Resolve(p.name, m)
	switch {
	case !managed:
		return nil
	case e.Origin == catalog.Discovered:
		return p.discover(ctx, e, m)
	}
	p.note(ctx, m.Path, e.Spec.ID, e.Findings)
	return p.secret(ctx, e.Spec, Facts{Known: true, Meta: m})
}

// secret compares one secret with the bus.
func (p *pass) secret(ctx context.Context, spec secret.Spec, f Facts) error {
	d := Evaluate(time.Now(), spec, f)
	cur := f.Meta.Current().ID
	if p.unchanged(spec, cur, d) {
		p.remember(spec, cur, d)
		return nil
	}
	if err := p.load(ctx, &spec, &f); err != nil {
		return fmt.Errorf("%s: %w", spec.ID, err)
	}
	d = Evaluate(time.Now(), spec, f)
	if err := errors.Join(p.announce(ctx, spec, f), p.act(ctx, spec, f, d)); err != nil {
		return fmt.Errorf("%s: %w", spec.ID, err)
	}
	p.remember(spec, f.Meta.Current().ID, d)
	return nil
}

// unchanged reports whether an earlier sweep left the secret as it should be
// and its timer still stands.
func (p *pass) unchanged(spec secret.Spec, cur secret.VersionID, d Decision) bool {
	_, armed := p.armed[spec.ID.Key()]
	was, ok := p.before(spec.ID)
	if !ok || p.all || armed != d.Arm || was.version != cur || !was.at.Equal(d.At) || was.reason != d.Reason {
		return false
	}
	switch d.Reason {
	case ReasonScheduled, ReasonDisabled, ReasonNoLifetime:
		return true
	default:
		return false
	}
}

// before returns what was last found of a secret.
func (p *pass) before(id secret.ID) (remembered, bool) {
	p.shelf.mu.Lock()
	defer p.shelf.mu.Unlock()
	was, ok := p.seen[id]
	return was, ok
}

func (p *pass) remember(spec secret.Spec, cur secret.VersionID, d Decision) {
	p.edit(spec.ID, func(r *remembered) { r.version, r.at, r.reason = cur, d.At, d.Reason })
	p.tally(func(r *Result) { r.Secrets[d.Reason]++ })
}

// edit changes what is remembered of a secret, and notes that it was seen.
func (p *pass) edit(id secret.ID, change func(*remembered)) {
	p.shelf.mu.Lock()
	defer p.shelf.mu.Unlock()
	r := p.seen[id]
	change(&r)
	r.round = p.round
	p.seen[id] = r
}

// load reads from the bus what the decision depends on.
func (p *pass) load(ctx context.Context, spec *secret.Spec, f *Facts) error {
	if _, ok := p.armed[spec.ID.Key()]; ok {
		t, err := p.s.Bus.Timer(ctx, events.TypeNearExpiry, spec.ID)
		if err != nil && !errors.Is(err, events.ErrUntrusted) {
			return err
		}
		f.Timer = t
	}
	if armed := f.Timer.Event.Data.VersionID; f.Timer.Seq != 0 && armed != f.Meta.Current().ID {
		// One of the two is older: the timer, or what was listed before a worker
		// rotated the secret.
		if err := p.reread(ctx, spec, f); err != nil {
			return err
		}
	}
	failed, err := p.s.Bus.Last(ctx, events.TypeRotationFailed, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return err
	}
	f.Failed = failed.Event.Data
	return nil
}

// reread reads the secret again.
func (p *pass) reread(ctx context.Context, spec *secret.Spec, f *Facts) error {
	now, meta, err := p.s.Catalog.Describe(ctx, *spec)
	if errors.Is(err, secret.ErrNotFound) {
		f.Known, f.Meta = false, secret.Metadata{}
		return nil
	}
	if err == nil {
		*spec = now.Spec
	}
	f.Known, f.Meta = err == nil, meta
	return err
}

// act does what was decided.
func (p *pass) act(ctx context.Context, spec secret.Spec, f Facts, d Decision) error {
	switch d.Reason {
	case ReasonNotFound, ReasonNoWindow, ReasonQuarantined, ReasonExpired:
		p.s.log.LogAttrs(ctx, slog.LevelError, "secret.unschedulable", slog.String("secret_id", string(spec.ID)),
			slog.String("reason", string(d.Reason)), slog.String("message", d.Message))
	default:
	}
	if p.s.LeaveTimers {
		return nil
	}
	if d.Disarm && f.Timer.Seq != 0 {
		return p.s.Bus.Disarm(ctx, events.TypeNearExpiry, spec.ID)
	}
	if !d.Arm {
		return nil
	}
	e := events.NearExpiry(p.s.Source, time.Now(), spec, f.Meta)
	if d.Reason == ReasonExpired {
		e.Data.Reason = events.ReasonExpired
	}
	// A worker that armed the timer meanwhile has read the store later than we
	// have: its timer stands.
	changed, err := p.s.Bus.ArmAfter(ctx, e, d.At, f.Timer)
	if errors.Is(err, events.ErrConflict) {
		return nil
	}
	if changed {
		p.tally(func(r *Result) { r.Armed++ })
		p.s.armed.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(d.Reason))))
	}
	return err
}

// tally counts something.
func (p *pass) tally(count func(*Result)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	count(&p.result)
}

// announce publishes the current version if nobody has: somebody else wrote it,
// or the log was lost. It reads the log before it reads the store again, so that
// whoever announces in between wins.
func (p *pass) announce(ctx context.Context, spec secret.Spec, f Facts) error {
	if f.Meta.Current().ID == "" {
		return nil
	}
	last, err := p.s.Bus.Last(ctx, events.TypeRotated, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return err
	}
	if !rollout.Unannounced(f.Meta, last.Event.Data) {
		return nil
	}
	now, meta, err := p.s.Catalog.Describe(ctx, spec)
	if err != nil || !rollout.Unannounced(meta, last.Event.Data) {
		return err
	}
	e := rollout.MissedAnnouncement(p.s.Source, time.Now(), now.Spec, meta)
	if _, err := p.s.Bus.PublishAfter(ctx, e, last.Seq); err != nil && !errors.Is(err, events.ErrConflict) {
		return err
	} else if err == nil {
		p.tally(func(r *Result) { r.Announced++ })
	}
	return nil
}
