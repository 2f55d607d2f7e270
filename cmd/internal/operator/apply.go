package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// maxPlan bounds a saved plan in bytes.
const maxPlan = 64 << 20

// SavePlan writes a plan in a file that does not exist yet.
func SavePlan(name string, p inspect.Plan) error {
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return SaveNew(name, append(text, '\n'))
}

// LoadPlan reads a saved plan.
func LoadPlan(name string) (p inspect.Plan, err error) {
	f, err := os.Open(name)
	if err != nil {
		return p, cli.UsageError{Err: err}
	}
	defer f.Close()
	d := json.NewDecoder(io.LimitReader(f, maxPlan))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, cli.UsageError{Err: fmt.Errorf("%s is not a saved plan: %w", name, err)}
	}
	if p.Format != inspect.PlanFormat {
		return p, cli.UsageError{Err: fmt.Errorf("%s has format %d, and this program applies format %d: make a new plan", name, p.Format, inspect.PlanFormat)}
	}
	return p, nil
}

// Apply makes what a plan says happen now. It changes nothing if any secret of it has
// moved since.
func (b Batch) Apply(ctx context.Context, p *wire.Parts, plan inspect.Plan) ([]Rotated, error) {
	var errs []error
	var ids []secret.ID
	for _, s := range plan.Soon() {
		errs = append(errs, moved(ctx, p, s))
		ids = append(ids, s.SecretID)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("nothing was done, because the plan is out of date; make a new one: %w", err)
	}
	b.Again = true // the plan names the versions to replace
	return b.Rotate(ctx, p, ids)
}

// moved returns how a secret differs from the plan.
func moved(ctx context.Context, p *wire.Parts, s inspect.Planned) error {
	e, err := lookUp(ctx, p, s.SecretID)
	if err != nil {
		return err
	}
	now, meta, err := p.Catalog.Describe(ctx, e.Spec)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	pending, _ := meta.At(secret.StagePending)
	switch cur := meta.Current().ID; {
	case e.Spec.Store != s.Store || e.Spec.StorePath() != s.Path:
		return fmt.Errorf("%s is at %s in the store %s now, and was at %s in %s", s.SecretID, e.Spec.StorePath(), e.Spec.Store, s.Path, s.Store)
	case cur != s.From || meta.Incarnation != s.Incarnation:
		return fmt.Errorf("%s has version %s now, and had %s", s.SecretID, orNone(cur), orNone(s.From))
	case pending.ID != s.Pending:
		return fmt.Errorf("%s has %s pending now, and had %s", s.SecretID, orNone(pending.ID), orNone(s.Pending))
	case s.Action == inspect.ActionCreate && !now.Spec.Create:
		return fmt.Errorf("%s is not to be created any more", s.SecretID)
	default:
		return nil
	}
}
