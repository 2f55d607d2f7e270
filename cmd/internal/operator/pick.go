package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	all, err := (&inspect.Inspector{Catalog: p.Catalog, Stores: p.Stores}).Secrets(ctx)
	if err != nil {
		return nil, err
	}
	var out []secret.ID
	var errs []error
	for _, s := range all {
		switch {
		case !k.fits(s):
		case s.Error != "":
			errs = append(errs, fmt.Errorf("%s: %s", s.SecretID, s.Error))
		case s.SecretID != "":
			out = append(out, s.SecretID)
		}
	}
	if len(out) == 0 {
		errs = append(errs, errors.New("no secret fits; 'rotator list' shows them with their stores, services and tags"))
	}
	return out, errors.Join(errs...)
}

func (k Pick) fits(s inspect.Secret) bool {
	if k.Service != "" && !slices.Contains(s.Services, k.Service) || k.Store != "" && s.Store != k.Store {
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
