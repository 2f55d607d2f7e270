package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/status"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// collector looks at secrets for somebody who asks.
type collector struct {
	*wire.Parts
	reports []events.Report
	ids     map[secret.ID]secret.Spec // :: id → the discovered secret that has it
}

// collect looks at the secrets with the given ids, or at all.
func collect(ctx context.Context, p *wire.Parts, only []string) ([]status.Secret, error) {
	reports, err := p.Bus.Reports(ctx)
	if err != nil {
		return nil, err
	}
	c := &collector{Parts: p, reports: reports, ids: map[secret.ID]secret.Spec{}}
	out := make([]status.Secret, 0, len(only))
	for _, id := range only {
		spec, _, err := p.Catalog.Find(ctx, secret.ID(id))
		if err != nil {
			return nil, unknown(err)
		}
		out = append(out, c.found(ctx, spec))
	}
	if len(only) > 0 {
		return out, nil
	}
	for spec := range p.Catalog.Specs() {
		out = append(out, c.found(ctx, spec))
	}
	for _, st := range p.Catalog.Stores() {
		if p.Catalog.Discovery(st.Name()) != nil {
			out = append(out, c.list(ctx, st)...)
		}
	}
	return out, nil
}

// unknown adds to the error of a secret that was not found where to look.
func unknown(err error) error {
	if errors.Is(err, store.ErrUnknownSecret) {
		return fmt.Errorf("%w; 'rotator status' lists those that are", err)
	}
	return err
}

// found reads a secret and looks at it.
func (c *collector) found(ctx context.Context, spec secret.Spec) status.Secret {
	_, _, unlisted := c.Catalog.Lookup(spec.ID)
	spec, meta, err := c.Catalog.Describe(ctx, spec)
	s := status.Secret{SecretID: spec.ID, Store: spec.Store, Path: spec.StorePath(), Services: spec.Services, Discovered: unlisted != nil}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.Error = err.Error()
		return s
	}
	if !s.Discovered {
		s.Problems = c.Catalog.Discovery(spec.Store).Conflicts(spec, meta)
	}
	return s.Look(ctx, spec, scheduler.Facts{Known: err == nil, Meta: meta}, c.Bus, c.reports)
}

// list looks at every secret that is discovered in a store, in the order of
// their paths.
func (c *collector) list(ctx context.Context, st *store.Store) []status.Secret {
	var out []status.Secret
	d := c.Catalog.Discovery(st.Name())
	for meta, err := range st.List(ctx) {
		if err != nil {
			return append(out, status.Secret{Store: st.Name(), Error: err.Error(), Discovered: true})
		}
		if d.Matches(meta.Path, meta.Attributes) && !c.configured(st.Name(), meta.Path) {
			out = append(out, c.discovered(ctx, d, meta))
		}
	}
	slices.SortFunc(out, func(a, b status.Secret) int { return strings.Compare(a.Path, b.Path) })
	return out
}

func (c *collector) configured(name, path string) bool {
	return slices.ContainsFunc(c.Specs, func(s secret.Spec) bool { return s.Store == name && s.StorePath() == path })
}

// discovered looks at a secret that no configuration lists.
func (c *collector) discovered(ctx context.Context, d *store.Discovery, meta secret.Metadata) status.Secret {
	spec, problems := d.Spec(meta)
	s := status.Secret{SecretID: spec.ID, Store: spec.Store, Path: meta.Path, Services: spec.Services, Discovered: true, Problems: problems}
	if spec.ID != "" {
		taken, err := c.taken(ctx, spec)
		if err != nil {
			s.Error = err.Error()
			return s
		}
		if taken != nil {
			s.Problems = append(s.Problems, *taken)
			s.Reason, s.Message = scheduler.ReasonCollision, "not scheduled, see below"
			return s
		}
	}
	if len(problems) > 0 {
		s.Reason, s.Message = scheduler.ReasonInvalid, "not scheduled, see below"
		return s
	}
	return s.Look(ctx, spec, scheduler.Facts{Known: true, Meta: meta}, c.Bus, c.reports)
}

// taken returns the problem of a secret whose id another one has. Before a
// scheduler has run, that is the one that was listed first.
func (c *collector) taken(ctx context.Context, spec secret.Spec) (*store.Problem, error) {
	last, err := c.Bus.Last(ctx, events.TypeDiscovered, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return nil, err
	}
	said := last.Event.Data
	if first, ok := c.ids[spec.ID]; ok && last.Seq == 0 {
		said = events.Discovery(c.Source, time.Now(), first).Data
	}
	c.ids[spec.ID] = spec
	return scheduler.Taken(c.Catalog, spec, said), nil
}
