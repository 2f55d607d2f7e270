package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Pick says which secrets a command is about: those that are named, or those that fit
// everything else.
type Pick struct {
	IDs            []string
	All            bool
	Service, Store string
	Tags           []string // key=value
}

// Validate returns an error unless the secrets are named or described, and not both.
func (k Pick) Validate() error {
	described := k.All || k.Service != "" || k.Store != "" || len(k.Tags) > 0
	if described == (len(k.IDs) > 0) {
		return errors.New("name secrets, or give --all, --service, --store or --tag")
	}
	for _, tag := range k.Tags {
		if !strings.Contains(tag, "=") {
			return fmt.Errorf("--tag: %q is not key=value", tag)
		}
	}
	return nil
}

// Secrets returns the IDs that are meant, and an error about those that cannot be read.
func (k Pick) Secrets(ctx context.Context, p *wire.Parts) ([]secret.ID, error) {
	if len(k.IDs) > 0 {
		return ParseIDs(k.IDs)
	}
	all, err := k.described(ctx, p)
	var out []secret.ID
	errs := []error{err}
	for _, s := range all {
		if s.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", s.SecretID, s.Error))
			continue
		}
		out = append(out, s.SecretID)
	}
	return out, errors.Join(errs...)
}

// Specs returns the specs of the secrets that are meant, in the order of their IDs, also
// of those that cannot be read. It fails if it cannot tell which are meant.
func (k Pick) Specs(ctx context.Context, p *wire.Parts) ([]secret.Spec, error) {
	ids, err := ParseIDs(k.IDs)
	if err != nil {
		return nil, cli.UsageError{Err: err}
	}
	var out []secret.Spec
	for _, id := range ids {
		e, err := lookUp(ctx, p, id)
		if err != nil {
			return nil, err
		}
		out = append(out, e.Spec)
	}
	if len(ids) == 0 {
		all, err := k.described(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, s := range all {
			out = append(out, s.Spec)
		}
	}
	slices.SortFunc(out, func(a, b secret.Spec) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(out, func(a, b secret.Spec) bool { return a.ID == b.ID }), nil
}

// described returns the secrets that fit the description, and an error about what it
// cannot tell of.
func (k Pick) described(ctx context.Context, p *wire.Parts) (out []inspect.Secret, err error) {
	all, err := (&inspect.Inspector{Catalog: p.Catalog, Stores: p.Stores}).Secrets(ctx)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, s := range all {
		unknown := s.SecretID == "" || len(k.Tags) > 0 // a listing that failed, or tags that were not read
		switch {
		case s.Error != "" && unknown && k.placed(s):
			errs = append(errs, fmt.Errorf("%s: %s", cmp.Or(string(s.SecretID), s.Path, "store "+s.Store), s.Error))
		case s.SecretID != "" && k.fits(s):
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		errs = append(errs, errors.New("no secret fits; 'rotator list' shows them with their stores, services and tags"))
	}
	return out, errors.Join(errs...)
}

// placed reports whether a secret, or what could not be listed, may be in the place that
// is described.
func (k Pick) placed(s inspect.Secret) bool {
	return (k.Store == "" || s.Store == k.Store) && (k.Service == "" || s.SecretID == "" || slices.Contains(s.Services, k.Service))
}

func (k Pick) fits(s inspect.Secret) bool {
	if !k.placed(s) {
		return false
	}
	for _, tag := range k.Tags {
		key, value, _ := strings.Cut(tag, "=")
		if got, ok := s.Meta.Attributes[key]; !ok || got != value {
			return false
		}
	}
	return true
}
