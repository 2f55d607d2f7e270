package client

import (
	"context"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"time"
)

// Source is where a [Manager] reads secrets.
type Source interface {
	// Spec returns what is configured of a secret.
	Spec(id secret.ID) (secret.Spec, error)
	// Describe reads everything about a secret but its values.
	Describe(ctx context.Context, id secret.ID) (secret.Metadata, error)
	// Read reads one version.
	Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error)
}

// FromCatalog returns a Source on the stores of a catalog.
func FromCatalog(c *store.Catalog) Source { return catalogSource{c} }

type catalogSource struct{ c *store.Catalog }

func (s catalogSource) Spec(id secret.ID) (secret.Spec, error) {
	spec, _, err := s.c.Lookup(id)
	return spec, err
}

func (s catalogSource) Describe(ctx context.Context, id secret.ID) (secret.Metadata, error) {
	spec, st, err := s.c.Lookup(id)
	if err != nil {
		return secret.Metadata{}, err
	}
	return st.Describe(ctx, spec.StorePath())
}

func (s catalogSource) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	spec, st, err := s.c.Lookup(id)
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	return st.Get(ctx, spec.StorePath(), sel)
}

// Bus is what a [Manager] needs of the bus; *events.Bus is one.
type Bus interface {
	SubscribeNotify(ctx context.Context, service string, fn func(context.Context, events.Delivery)) (stop func(), err error)
	LastNotified(ctx context.Context, service string, id secret.ID) (events.Announcement, error)
	Report(ctx context.Context, r events.Report, lease time.Duration) error
	Withdraw(ctx context.Context, service, instance string) error
}
