package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Past returns what happened to a secret by its store, the log and the record, the
// oldest first. Of a store that cannot be read it has the rest, with the error.
func Past(ctx context.Context, p *wire.Parts, id secret.ID) ([]inspect.Past, error) {
	e, err := find(ctx, p.Catalog, id)
	if err != nil {
		return nil, err
	}
	_, meta, serr := p.Catalog.Describe(ctx, e.Spec)
	if errors.Is(serr, store.ErrNotFound) {
		serr = nil
	}
	var log []inspect.LogEntry
	err = p.Bus.ReadLog(ctx, events.LogQuery{IDs: []secret.ID{id}}, func(a events.Announcement) error {
		log = append(log, inspect.NewLogEntry(a))
		return nil
	})
	if err != nil {
		return nil, err
	}
	receipts, err := p.Bus.Retirements(ctx, id)
	if err != nil {
		return nil, err
	}
	acts, err := p.Bus.TrustedActs(ctx, id)
	if err != nil {
		return nil, err
	}
	return inspect.History(meta, log, receipts, acts), serr
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
