package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Past returns what happened to a secret by its store, the log and the record, the
// oldest first. Of a store that cannot be read it has the rest, with the error. Of a
// secret that is not configured any more it has what was recorded.
func Past(ctx context.Context, p *wire.Parts, id secret.ID) ([]inspect.Past, error) {
	var meta secret.Metadata
	e, unknown := lookUp(ctx, p, id)
	if unknown != nil && !errors.Is(unknown, catalog.ErrUnknownSecret) {
		return nil, unknown
	}
	var serr error
	if unknown == nil {
		if _, meta, serr = p.Catalog.Describe(ctx, e.Spec); errors.Is(serr, store.ErrNotFound) {
			serr = nil
		}
	}
	out, err := recorded(ctx, p.Bus, id, meta)
	switch {
	case err != nil:
		return nil, err
	case len(out) == 0 && unknown != nil:
		return nil, unknown
	default:
		return out, serr
	}
}

// recorded returns what the log and the record have of a secret, and its versions.
func recorded(ctx context.Context, bus *events.Bus, id secret.ID, meta secret.Metadata) ([]inspect.Past, error) {
	var log []inspect.LogEntry
	err := bus.ReadLog(ctx, events.LogQuery{IDs: []secret.ID{id}}, func(a events.Announcement) error {
		log = append(log, inspect.NewLogEntry(a))
		return nil
	})
	if err != nil {
		return nil, err
	}
	receipts, err := bus.Retirements(ctx, id)
	if err != nil {
		return nil, err
	}
	acts, err := bus.TrustedActs(ctx, id)
	if err != nil {
		return nil, err
	}
	return inspect.History(meta, log, receipts, acts), nil
}

// ParseTypes reads types of event, with or without their first part.
func ParseTypes(args []string) ([]events.Type, error) {
	var out []events.Type
	for _, arg := range args {
		found := false
		for _, t := range events.LogTypes() {
			if string(t) == arg || string(t) == "secret."+arg {
				out, found = append(out, t), true
			}
		}
		if !found {
			return nil, fmt.Errorf("--type: no event of the log has the type %q; use one of %s", arg, fmt.Sprint(events.LogTypes()))
		}
	}
	return out, nil
}
