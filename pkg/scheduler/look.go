package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Look compares one secret in its store with the bus, now, as a sweep does: it
// announces a version that somebody else wrote and arms what is missing or has
// moved. Whoever asks for it may be mistaken, or lie: all rests on what the
// store says. A secret that is not configured here is none of ours, and no
// error.
func (s *Scheduler) Look(ctx context.Context, id secret.ID) error {
	ctx, span := s.tracer.Start(ctx, "look", trace.WithAttributes(attribute.String("secret.id", string(id))))
	defer span.End()
	spec, st, err := s.Catalog.Lookup(id)
	if errors.Is(err, store.ErrUnknownSecret) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("scheduler: look: %w", err)
	}
	meta, err := st.Describe(ctx, spec.StorePath())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("scheduler: look: %w", err)
	}
	f := Facts{Known: err == nil, Meta: meta}
	// What a sweep remembers is its own, and it lists all timers at once.
	p := pass{s: s, armed: map[secret.Key]struct{}{spec.ID.Key(): {}}, result: Result{Secrets: map[Reason]int{}}}
	if err := p.load(ctx, spec, &f); err != nil {
		return fmt.Errorf("scheduler: look at %s: %w", id, err)
	}
	d := Evaluate(time.Now(), spec, f)
	if err := errors.Join(p.announce(ctx, spec, f), p.act(ctx, spec, f, d)); err != nil {
		return fmt.Errorf("scheduler: look at %s: %w", id, err)
	}
	return nil
}
