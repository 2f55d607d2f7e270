package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/running"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

// find returns the entry of a secret. The error for an id that is not known says what
// to do.
func find(ctx context.Context, c *catalog.Catalog, id secret.ID) (catalog.Entry, error) {
	e, err := c.Find(ctx, id)
	return e, likely(err, c)
}

// lookUp is find, also for a secret that a configuration listed once.
func lookUp(ctx context.Context, p *wire.Parts, id secret.ID) (catalog.Entry, error) {
	e, err := find(ctx, p.Catalog, id)
	if !errors.Is(err, catalog.ErrUnknownSecret) {
		return e, err
	}
	all, asked := running.Ask(ctx, p.Conn, p.Bus.Names(), running.Show, false)
	for _, a := range all {
		keep(p.Catalog, a)
	}
	if errors.Join(asked, listedOnce(ctx, p)) != nil {
		return e, err // which says enough
	}
	return find(ctx, p.Catalog, id)
}

// likely adds to the error about an id that is not known what to do: to correct it, if
// one of the catalog is close, or to wait for the sweep.
func likely(err error, c *catalog.Catalog) error {
	if !errors.Is(err, catalog.ErrUnknownSecret) {
		return err
	}
	var known []string
	for e := range c.Entries() {
		known = append(known, string(e.Spec.ID))
	}
	return unknown(err, known)
}

func unknown(err error, known []string) error {
	if _, id, ok := strings.Cut(err.Error(), ": "); ok {
		if like, ok := config.Suggest(id, known); ok {
			return fmt.Errorf("%w; did you mean %s?", err, like)
		}
	}
	return fmt.Errorf("%w; 'rotator status' lists those that are; a secret that was tagged just now is known after the next sweep (scheduler.sweep_every)", err)
}

// Known returns the ids that are given as arguments, all of which are known.
func Known(ctx context.Context, p *wire.Parts, args []string) ([]secret.ID, error) {
	ids, err := ParseIDs(args)
	if err != nil {
		return nil, cli.UsageError{Err: err}
	}
	for _, id := range ids {
		if _, err := lookUp(ctx, p, id); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
