package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Selector says which secrets a command is about: those with the given ids, or all
// that satisfy every other field.
type Selector struct {
	IDs []secret.ID
	All bool
	// Service is a subscriber, Store the name of a store; "" is any.
	Service, Store string
}

// SelectorOf returns the selector that the arguments and flags of a command give.
func SelectorOf(args []string, all bool, service, store string) (Selector, error) {
	s := Selector{All: all, Service: service, Store: store}
	for _, arg := range args {
		id, err := secret.ParseID(arg)
		if err != nil {
			return s, cli.UsageError{Err: err}
		}
		s.IDs = append(s.IDs, id)
	}
	rest := all || service != "" || store != ""
	if (len(args) > 0) == rest {
		return s, cli.UsageError{Err: errors.New("give the IDs of secrets, or --all, --service or --store")}
	}
	return s, nil
}

// Select returns the specs of the secrets that s selects, in the order of their IDs.
func (s Selector) Select(ctx context.Context, p *wire.Parts) ([]secret.Spec, error) {
	var out []secret.Spec
	for _, id := range s.IDs {
		e, err := p.Catalog.Find(ctx, id)
		if err != nil {
			return nil, Unknown(err)
		}
		out = append(out, e.Spec)
	}
	if len(s.IDs) == 0 {
		all, err := everySpec(ctx, p)
		if err != nil {
			return nil, err
		}
		out = slices.DeleteFunc(all, func(spec secret.Spec) bool { return !s.matches(spec) })
	}
	if len(out) == 0 {
		return nil, errors.New("no secret is selected; 'rotator status' lists them")
	}
	slices.SortFunc(out, func(a, b secret.Spec) int { return compareIDs(a.ID, b.ID) })
	return slices.CompactFunc(out, func(a, b secret.Spec) bool { return a.ID == b.ID }), nil
}

func (s Selector) matches(spec secret.Spec) bool {
	return (s.Store == "" || spec.Store == s.Store) && (s.Service == "" || slices.Contains(spec.Services, s.Service))
}

func compareIDs(a, b secret.ID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	default:
		return 0
	}
}

// everySpec returns the specs of all secrets: configured ones and those that are
// discovered.
func everySpec(ctx context.Context, p *wire.Parts) ([]secret.Spec, error) {
	out := p.Specs()
	for _, st := range p.Stores.All() {
		if p.Catalog.Discovery(st.Name()) == nil {
			continue
		}
		for meta, err := range st.List(ctx) {
			if err != nil {
				return nil, fmt.Errorf("list what is discovered: %w", err)
			}
			if e, ok := p.Catalog.Resolve(st.Name(), meta); ok && e.Origin == catalog.Discovered && e.Spec.ID != "" {
				out = append(out, e.Spec)
			}
		}
	}
	return out, nil
}
