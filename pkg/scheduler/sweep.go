package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Result counts what a sweep did.
type Result struct {
	// Secrets is how many secrets there are by what was decided for them.
	Secrets map[Reason]int
	// Armed is how many timers were set or moved, Announced how many versions
	// nobody had announced.
	Armed, Announced int
}

func (r Result) total() int {
	n := 0
	for _, c := range r.Secrets {
		n += c
	}
	return n
}

// memory is what the last sweeps found: an unchanged secret with its timer in
// place costs no call on the bus. It is touched by one sweep at a time.
type memory struct {
	sweeps int
	seen   map[secret.ID]remembered
}

type remembered struct {
	version secret.VersionID
	at      time.Time
	reason  Reason
}

// Sweep compares every secret in its store with the bus once. A store that
// fails does not keep the others from being swept; the error joins them all.
func (s *Scheduler) Sweep(ctx context.Context) (Result, error) {
	ctx, span := s.tracer.Start(ctx, "sweep")
	defer span.End()
	begin := time.Now()
	p := pass{s: s, seen: map[secret.ID]remembered{}, result: Result{Secrets: map[Reason]int{}}}
	err := p.run(ctx)
	s.memory.sweeps++
	s.memory.seen = p.seen
	s.observe(ctx, p.result, time.Since(begin), err)
	return p.result, err
}

// pass is one sweep.
type pass struct {
	s      *Scheduler
	armed  map[secret.Key]struct{} // :: timers that are on the bus
	seen   map[secret.ID]remembered
	result Result
}

func (p *pass) run(ctx context.Context) error {
	var err error
	if p.armed, err = p.s.Bus.ArmedKeys(ctx); err != nil {
		return fmt.Errorf("list the timers: %w", err)
	}
	byStore := map[string]map[string]secret.Spec{} // :: store → path → spec
	for spec := range p.s.Catalog.Specs() {
		if byStore[spec.Store] == nil {
			byStore[spec.Store] = map[string]secret.Spec{}
		}
		byStore[spec.Store][spec.StorePath()] = spec
	}
	errs := []error{p.disarmOrphans(ctx)}
	for _, st := range p.s.Catalog.Stores() {
		if specs := byStore[st.Name()]; len(specs) > 0 {
			errs = append(errs, p.store(ctx, st, specs))
		}
	}
	return errors.Join(errs...)
}

// disarmOrphans removes the timers of secrets that are no longer configured.
func (p *pass) disarmOrphans(ctx context.Context) error {
	var errs []error
	for key := range p.armed {
		id, err := secret.IDFromKey(key)
		if err != nil {
			continue // not a name that this program arms
		}
		if _, _, err := p.s.Catalog.Lookup(id); errors.Is(err, store.ErrUnknownSecret) {
			errs = append(errs, p.s.Bus.Disarm(ctx, events.TypeNearExpiry, id))
		}
	}
	return errors.Join(errs...)
}

// store sweeps the secrets of one store. What a complete listing does not show
// the store does not have.
func (p *pass) store(ctx context.Context, st *store.Store, specs map[string]secret.Spec) error {
	var errs []error
	for meta, err := range st.List(ctx) {
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if spec, ok := specs[meta.Path]; ok {
			delete(specs, meta.Path)
			errs = append(errs, p.secret(ctx, spec, Facts{Known: true, Meta: meta}))
		}
	}
	for _, spec := range specs {
		errs = append(errs, p.secret(ctx, spec, Facts{}))
	}
	return errors.Join(errs...)
}

// secret compares one secret with the bus.
func (p *pass) secret(ctx context.Context, spec secret.Spec, f Facts) error {
	d := Evaluate(time.Now(), spec, f)
	cur := f.Meta.Current().ID
	if p.unchanged(spec, cur, d) {
		p.remember(spec, cur, d)
		return nil
	}
	if err := p.load(ctx, spec, &f); err != nil {
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
	was, ok := p.s.memory.seen[spec.ID]
	full := p.s.memory.sweeps%fullEvery == 0
	return ok && !full && armed == d.Arm && d.Reason == ReasonScheduled && was == remembered{cur, d.At, d.Reason}
}

func (p *pass) remember(spec secret.Spec, cur secret.VersionID, d Decision) {
	p.seen[spec.ID] = remembered{cur, d.At, d.Reason}
	p.result.Secrets[d.Reason]++
}

// load reads from the bus what the decision depends on.
func (p *pass) load(ctx context.Context, spec secret.Spec, f *Facts) error {
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
func (p *pass) reread(ctx context.Context, spec secret.Spec, f *Facts) error {
	_, st, err := p.s.Catalog.Lookup(spec.ID)
	if err != nil {
		return err
	}
	meta, err := st.Describe(ctx, spec.StorePath())
	if errors.Is(err, store.ErrNotFound) {
		f.Known, f.Meta = false, secret.Metadata{}
		return nil
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
		p.result.Armed++
		p.s.armed.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", string(d.Reason))))
	}
	return err
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
	if last.Event.Data.VersionID == f.Meta.Current().ID {
		return nil
	}
	_, st, err := p.s.Catalog.Lookup(spec.ID)
	if err != nil {
		return err
	}
	meta, err := st.Describe(ctx, spec.StorePath())
	if err != nil {
		return err
	}
	cur := meta.Current()
	if cur.ID == "" || cur.ID == last.Event.Data.VersionID {
		return nil
	}
	prev, _ := meta.At(secret.StagePrevious)
	e := events.Rotated(p.s.Source, time.Now(), events.Data{
		SecretID: spec.ID, Store: spec.Store, VersionID: cur.ID, PreviousVersionID: prev.ID,
		Reason: events.Origin(spec, prev.ID, cur.Token), NotAfter: spec.NotAfter(meta, cur), RotationID: cur.Token,
	})
	if _, err := p.s.Bus.PublishAfter(ctx, e, last.Seq); err != nil && !errors.Is(err, events.ErrConflict) {
		return err
	} else if err == nil {
		p.result.Announced++
	}
	return nil
}
