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
// store says. A secret that is neither configured here nor discovered is none of
// ours, and no error.
func (s *Scheduler) Look(ctx context.Context, id secret.ID) error {
	ctx, span := s.tracer.Start(ctx, "look", trace.WithAttributes(attribute.String("secret.id", string(id))))
	defer span.End()
	spec, _, err := s.Catalog.Find(ctx, id)
	var meta secret.Metadata
	if err == nil {
		spec, meta, err = s.Catalog.Describe(ctx, spec)
	}
	if errors.Is(err, store.ErrUnknownSecret) {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("scheduler: look: %w", err)
	}
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
