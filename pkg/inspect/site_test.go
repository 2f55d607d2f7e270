package inspect_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// site is a store in which secrets are discovered, and a bus.
type site struct {
	t   *testing.T
	mem *storetest.Mem
	srv *eventstest.Server
	bus *events.Bus
	in  inspect.Inspector
}

func newSite(t *testing.T, specs ...secret.Spec) *site {
	t.Helper()
	s := &site{t: t, mem: storetest.NewMem(nil), srv: eventstest.NewServer(t)}
	s.bus = s.srv.NewBus(events.StreamOptions{Memory: true})
	s.open(s.mem, specs...)
	return s
}

// open makes the inspector of a store.
func (s *site) open(d store.Driver, specs ...secret.Spec) {
	s.t.Helper()
	st, err := store.New("main", d, &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		s.t.Fatal(err)
	}
	locate := func(ctx context.Context, id secret.ID) (string, string, error) {
		last, err := s.bus.Last(ctx, events.TypeDiscovered, id)
		spec, ok := last.Event.Data.Spec()
		if err == nil && !ok {
			err = fmt.Errorf("%w: %s", catalog.ErrUnknownSecret, id)
		}
		return spec.Store, spec.Path, err
	}
	found := &catalog.Discovery{Store: "main", Match: map[string]string{catalog.TagManaged: ""}, Defaults: secret.Spec{TTL: 24 * time.Hour}}
	cat, err := catalog.New(catalog.Config{Stores: stores, Specs: specs, Discoveries: []*catalog.Discovery{found}, Locate: locate})
	if err != nil {
		s.t.Fatal(err)
	}
	s.in = inspect.Inspector{Catalog: cat, Stores: stores, Bus: s.bus}
}

// put makes a secret with one version and tags, and returns the version.
func (s *site) put(path string, tags ...string) secret.VersionID {
	s.t.Helper()
	v, err := s.mem.Put(s.t.Context(), path, store.Write{Token: secret.NewToken(secret.ID(path), "", "test", 0), Value: secret.NewValue([]byte("value")), Create: true})
	if err == nil {
		err = s.mem.Promote(s.t.Context(), path, "", v.ID)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	attrs := map[string]string{}
	for _, tag := range tags {
		key, value, _ := strings.Cut(tag, "=")
		attrs["rotator:"+key] = value
	}
	s.mem.SetAttributes(path, attrs)
	return v.ID
}

// report records what a live instance of a service runs of the secret DB, and that
// it accepts nothing else.
func (s *site) report(service string, v secret.VersionID) {
	s.t.Helper()
	const id, instance = secret.ID("DB"), "1"
	now, incarnation := time.Now(), service+instance
	_, err := s.bus.Join(s.t.Context(), events.Presence{Service: service, Instance: instance, Incarnation: incarnation, StartedAt: now, At: now, Lease: 3600})
	if err == nil {
		err = s.bus.WriteUse(s.t.Context(), events.Use{
			Running: events.Running{SecretID: id, VersionID: v, Status: events.StatusApplied, At: now},
			Service: service, Instance: instance, Incarnation: incarnation, Accepts: []secret.VersionID{}, PastFence: events.PastFenceServe, Joined: true,
		})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// secrets reads the secrets with the given IDs, or all.
func (s *site) secrets(ids ...secret.ID) []inspect.Secret {
	s.t.Helper()
	all, err := s.in.Secrets(s.t.Context(), ids...)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// paths returns the paths of secrets.
func paths(all []inspect.Secret) (out []string) {
	for _, s := range all {
		out = append(out, s.Path)
	}
	return out
}

// truncated is a store whose listing breaks off after the first secret.
type truncated struct{ *storetest.Mem }

func (d truncated) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		for m, err := range d.Mem.List(ctx) {
			if yield(m, err) {
				yield(secret.Metadata{}, fmt.Errorf("%w: broken off", store.ErrUnavailable))
			}
			return
		}
	}
}

// errDown is what a store says that does not work.
var errDown = fmt.Errorf("%w: it is down", store.ErrUnavailable)

// announce publishes that a version is current.
func announce(t *testing.T, s *site, id secret.ID, v secret.VersionID) {
	t.Helper()
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: id, Store: "main", VersionID: v, Reason: events.ReasonManual})
	if err := s.bus.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
}
