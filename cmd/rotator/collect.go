package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tradepulse/rotator/cmd/internal/status"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// collector gathers what is known of secrets, for one command.
type collector struct {
	*wire.Parts
	reports []events.Report
	first   map[secret.ID]secret.Spec // :: id → the discovered secret that was listed first with it
}

// collect returns what is known of the secrets with the given ids, or of all.
func collect(ctx context.Context, p *wire.Parts, only []string) ([]status.Secret, error) {
	reports, err := p.Bus.Reports(ctx)
	if err != nil {
		return nil, err
	}
	c := &collector{Parts: p, reports: reports, first: map[secret.ID]secret.Spec{}}
	out := make([]status.Secret, 0, len(only))
	for _, id := range only {
		e, err := p.Catalog.Find(ctx, secret.ID(id))
		if err != nil {
			return nil, unknown(err)
		}
		out = append(out, c.one(ctx, e))
	}
	if len(only) > 0 {
		return out, nil
	}
	for e := range p.Catalog.Entries() {
		if e.Origin == catalog.Configured {
			out = append(out, c.one(ctx, e))
		}
	}
	for _, st := range p.Stores.All() {
		if p.Catalog.Discovery(st.Name()) != nil {
			out = append(out, c.discovered(ctx, st)...)
		}
	}
	return out, nil
}

// unknown adds to the error of a secret that was not found where to look.
func unknown(err error) error {
	if errors.Is(err, catalog.ErrUnknownSecret) {
		return fmt.Errorf("%w; 'rotator status' lists those that are", err)
	}
	return err
}

// one reads one secret.
func (c *collector) one(ctx context.Context, e catalog.Entry) status.Secret {
	e, meta, err := c.Catalog.Describe(ctx, e.Spec)
	s := shown(e)
	if err != nil && !errors.Is(err, secret.ErrNotFound) {
		s.Error = err.Error()
		return s
	}
	return s.Look(ctx, e.Spec, scheduler.Facts{Known: err == nil, Meta: meta}, c.Bus, c.reports)
}

func shown(e catalog.Entry) status.Secret {
	return status.Secret{
		SecretID: e.Spec.ID, Store: e.Spec.Store, Path: e.Spec.StorePath(), Services: e.Spec.Services,
		Discovered: e.Origin == catalog.Discovered, Findings: e.Findings,
	}
}

// discovered returns the secrets that are discovered in a store, in the order of
// their paths.
func (c *collector) discovered(ctx context.Context, st *store.Store) []status.Secret {
	var out []status.Secret
	for meta, err := range st.List(ctx) {
		if err != nil {
			return append(out, status.Secret{Store: st.Name(), Error: err.Error(), Discovered: true})
		}
		if e, ok := c.Catalog.Resolve(st.Name(), meta); ok && e.Origin == catalog.Discovered {
			out = append(out, c.discover(ctx, e, meta))
		}
	}
	slices.SortFunc(out, func(a, b status.Secret) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// discover returns what is known of a discovered secret, given what its store
// lists.
func (c *collector) discover(ctx context.Context, e catalog.Entry, meta secret.Metadata) status.Secret {
	if e.Spec.ID != "" && !e.Has(catalog.CodeCollision) {
		collision, err := c.collision(ctx, e.Spec)
		if err != nil {
			s := shown(e)
			s.Error = err.Error()
			return s
		}
		if collision != nil {
			e.Findings = append(e.Findings, *collision)
		}
	}
	s := shown(e)
	switch {
	case e.Has(catalog.CodeCollision):
		s.Reason, s.Message = scheduler.ReasonCollision, "not scheduled, see below"
		return s
	case len(e.Findings) > 0:
		s.Reason, s.Message = scheduler.ReasonInvalid, "not scheduled, see below"
		return s
	default:
		return s.Look(ctx, e.Spec, scheduler.Facts{Known: true, Meta: meta}, c.Bus, c.reports)
	}
}

// collision returns the problem of a secret whose id belongs to another one.
// Before a scheduler has run, the one that was listed first has it.
func (c *collector) collision(ctx context.Context, spec secret.Spec) (*secret.Finding, error) {
	last, err := c.Bus.Last(ctx, events.TypeDiscovered, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return nil, err
	}
	announced, _ := last.Event.Data.Spec()
	if last.Seq == 0 {
		announced = c.first[spec.ID]
	}
	c.first[spec.ID] = spec
	return c.Catalog.Collision(spec, announced), nil
}
