package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Look compares one secret in its store with the bus, now, as a sweep does: it
// announces a version that somebody else wrote and arms what is missing or has
// moved. Whoever asks for it may be mistaken, or lie: all rests on what the
// store says. A secret that is neither configured here nor discovered is none of
// ours, and no error.
func (s *Scheduler) Look(ctx context.Context, id secret.ID) error {
	ctx, span := s.tracer.Start(ctx, "look", trace.WithAttributes(attribute.String("secret.id", string(id))))
	defer span.End()
	e, err := s.Catalog.Find(ctx, id)
	var meta secret.Metadata
	if err == nil {
		e, meta, err = s.Catalog.Describe(ctx, e.Spec)
	}
	if errors.Is(err, catalog.ErrUnknownSecret) {
		return nil
	}
	if err != nil && !errors.Is(err, secret.ErrNotFound) {
		return fmt.Errorf("scheduler: look: %w", err)
	}
	spec := e.Spec
	f := Facts{Known: err == nil, Meta: meta}
	// What a sweep remembers is its own, and it lists all timers at once.
	p := pass{sweep: &sweep{s: s, armed: map[secret.Key]struct{}{spec.ID.Key(): {}}}, result: newResult()}
	if err := p.load(ctx, &spec, &f); err != nil {
		return fmt.Errorf("scheduler: look at %s: %w", id, err)
	}
	d := Evaluate(time.Now(), spec, f)
	if err := errors.Join(p.announce(ctx, spec, f), p.act(ctx, spec, f, d)); err != nil {
		return fmt.Errorf("scheduler: look at %s: %w", id, err)
	}
	return nil
}

// LookAt is Look at the path of a store in which secrets are discovered: one
// that wants to be managed is discovered now, or looked at again. Whoever names
// the path may be mistaken, or lie. What the configuration lists, what cannot be
// found or read there and what does not want to be managed is left alone; a
// secret that was discovered and is gone the sweep lets go.
func (s *Scheduler) LookAt(ctx context.Context, name, path string) error {
	i := slices.IndexFunc(s.shelves, func(sh *shelf) bool { return sh.name == name })
	if i < 0 || !s.Catalog.MayDiscover(name, path) {
		return nil
	}
	sh := s.shelves[i]
	ctx, span := s.tracer.Start(ctx, "look", trace.WithAttributes(attribute.String("secret.store", name)))
	defer span.End()
	m, err := sh.st.Describe(ctx, path)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrAccessDenied):
		return nil
	case err != nil:
		return fmt.Errorf("scheduler: look: %w", err)
	}
	e, managed := s.Catalog.Resolve(name, m)
	if !managed || e.Origin != catalog.Discovered {
		return nil
	}
	p := pass{sweep: &sweep{s: s, armed: map[secret.Key]struct{}{e.Spec.ID.Key(): {}}}, shelf: sh.blank(), all: true, result: newResult()}
	if err := p.discover(ctx, e, m); err != nil {
		return fmt.Errorf("scheduler: look at %w", err)
	}
	return nil
}

// blank returns the store without what sweeps remember of it.
func (sh *shelf) blank() *shelf {
	return &shelf{name: sh.name, st: sh.st, seen: map[secret.ID]remembered{}, noted: map[string]noted{}}
}
