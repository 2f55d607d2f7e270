package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Reconcile compares one secret in its store with the bus, now, as a sweep does:
// it announces a version that another program wrote and arms what is missing or
// has moved. The caller is not trusted: every decision is based on the store. A
// secret that is neither configured nor discovered is ignored.
func (s *Scheduler) Reconcile(ctx context.Context, id secret.ID) error {
	ctx, span := s.tracer.Start(ctx, "reconcile", trace.WithAttributes(attribute.String("secret.id", string(id))))
	defer span.End()
	e, err := s.cfg.Catalog.Find(ctx, id)
	var meta secret.Metadata
	if err == nil {
		e, meta, err = s.cfg.Catalog.Describe(ctx, e.Spec)
	}
	if errors.Is(err, catalog.ErrUnknownSecret) {
		return nil
	}
	if err != nil && !errors.Is(err, secret.ErrNotFound) {
		return fmt.Errorf("scheduler: reconcile: %w", err)
	}
	if _, err := s.reconciler.reconcile(ctx, e.Spec, Facts{Known: err == nil, Meta: meta, Deleted: Deletion(err)}, true); err != nil {
		return fmt.Errorf("scheduler: reconcile %w", err)
	}
	return nil
}

// ReconcilePath is Reconcile for a path of a store in which secrets are
// discovered: a secret whose tags ask for it is discovered now. The caller is not
// trusted. A secret that the configuration lists, that cannot be found or read
// there, or whose tags do not ask for it is ignored; only a sweep stops managing
// a secret that was discovered before.
func (s *Scheduler) ReconcilePath(ctx context.Context, name, path string) error {
	i := slices.IndexFunc(s.stores, func(st *storeState) bool { return st.name == name })
	if i < 0 || !s.cfg.Catalog.MayDiscover(name, path) {
		return nil
	}
	ctx, span := s.tracer.Start(ctx, "reconcile", trace.WithAttributes(attribute.String("secret.store", name)))
	defer span.End()
	m, err := s.stores[i].store.Describe(ctx, path)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrAccessDenied):
		return nil
	case err != nil:
		return fmt.Errorf("scheduler: reconcile: %w", err)
	}
	e, managed := s.cfg.Catalog.Resolve(name, m)
	if !managed || e.Origin != catalog.Discovered {
		return nil
	}
	if err := s.discover(ctx, name, e, m); err != nil {
		return fmt.Errorf("scheduler: reconcile %w", err)
	}
	return nil
}

// discover claims the ID of a discovered secret and reconciles it.
func (s *Scheduler) discover(ctx context.Context, name string, e catalog.Entry, m secret.Metadata) error {
	c, err := s.reconciler.claim(ctx, e, false)
	if err != nil {
		return err
	}
	if c.refusal != "" {
		s.logFindings(ctx, name, m.Path, c.entry)
		return s.reconciler.suspend(ctx, c, true)
	}
	_, err = s.reconciler.reconcile(ctx, e.Spec, Facts{Known: true, Meta: m}, true)
	return err
}
