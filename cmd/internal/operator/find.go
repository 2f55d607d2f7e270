package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

// find returns the entry of a secret. The error for an id that is not known says which
// one was likely meant.
func find(ctx context.Context, c *catalog.Catalog, id secret.ID) (catalog.Entry, error) {
	e, err := c.Find(ctx, id)
	return e, Unknown(likely(err, c, []secret.ID{id}))
}

// likely adds to the error about one of some ids that is not known which one was likely
// meant.
func likely(err error, c *catalog.Catalog, ids []secret.ID) error {
	if !errors.Is(err, catalog.ErrUnknownSecret) {
		return err
	}
	var known []string
	for e := range c.Entries() {
		known = append(known, string(e.Spec.ID))
	}
	for _, id := range ids {
		if _, there := c.Lookup(id); there {
			continue
		}
		if meant, ok := config.Suggest(string(id), known); ok {
			return fmt.Errorf("%w; did you mean %s?", err, meant)
		}
	}
	return err
}

// Known returns the ids that are given as arguments, all of which are known.
func Known(ctx context.Context, p *wire.Parts, args []string) ([]secret.ID, error) {
	ids, err := ParseIDs(args)
	if err != nil {
		return nil, cli.UsageError{Err: err}
	}
	for _, id := range ids {
		if _, err := find(ctx, p.Catalog, id); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
