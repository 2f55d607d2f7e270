package notify

import (
	"context"
	"errors"
	"log/slog"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// spec returns what is configured for a secret, and false for one that is neither
// configured nor discovered.
func (t *tracker) spec(id secret.ID) (secret.Spec, bool) { return t.catalog.Spec(id) }

// discovered puts what the log says of a discovered secret into the catalog; t.mu
// is held.
func (t *tracker) discovered(d events.Data) {
	spec, ok := d.Spec()
	if !ok {
		t.catalog.Remove(d.SecretID, catalog.Discovered)
	} else if err := t.catalog.Replace(catalog.Entry{Spec: spec, Origin: catalog.Discovered}); err != nil {
		// The configuration has its id or its place, and wins.
		t.log.LogAttrs(context.Background(), slog.LevelDebug, "discovery.ignored", slog.String("secret_id", string(d.SecretID)), slog.String("error", err.Error()))
	}
	t.touched(d.SecretID)
}

// watchCatalog has the rollouts of secrets looked at again whose configuration
// changed, until ctx ends.
func (t *tracker) watchCatalog(ctx context.Context) error {
	for id := range t.catalog.Watch(ctx) {
		t.mu.Lock()
		t.touched(id)
		t.mu.Unlock()
	}
	return nil
}

// services returns the services that have to run a secret. For a secret that is
// not configured it reads the log: a secret is discovered before it is announced
// for the first time, and the tracker may be behind.
func (n *Notifier) services(ctx context.Context, id secret.ID) ([]string, error) {
	if e, ok := n.cfg.Catalog.Lookup(id); ok && e.Origin != catalog.Discovered {
		return e.Spec.Services, nil
	}
	a, err := n.cfg.Bus.Last(ctx, events.TypeDiscovered, id)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return nil, err
	}
	spec, _ := a.Event.Data.Spec()
	return spec.Services, nil
}
