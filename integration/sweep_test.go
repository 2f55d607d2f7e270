package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// kinds counts calls by what they are: an action of AWS, or a method and the
// part of the engine.
func kinds(calls []string) map[string]int {
	out := map[string]int{}
	for _, call := range calls {
		if method, path, ok := strings.Cut(call, " /v1/secret/"); ok {
			part, _, _ := strings.Cut(path, "/")
			call = method + " " + part
		}
		out[call]++
	}
	return out
}

// sweepSize is how many secrets the sweeps are about, on several pages of AWS;
// sweepStrangers is how many secrets outside the discovery are beside them.
const sweepSize, sweepStrangers, awsPage = 300, 60, 100

// TestSweepCalls counts, on the wire, what a sweep of many discovered secrets
// costs that have not changed.
func TestSweepCalls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		open func(*testing.T, *catalog.Discovery, store.Scope) (store.Driver, *serverstest.Proxy)
		most int
	}{
		"aws":   {sweptAWS, sweepSize/awsPage + 1},
		"vault": {sweptVault, sweepSize + 2}, // two folders are listed
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stores := new(store.Set)
			known, err := catalog.New(catalog.Config{Stores: stores})
			if err != nil {
				t.Fatal(err)
			}
			tagged := &catalog.Discovery{Store: "main", Match: map[string]string{catalog.TagManaged: "true"}, Defaults: secret.Spec{TTL: 30 * 24 * time.Hour}}
			d, wire := c.open(t, tagged, known.Scope("main"))
			sweep := sweeper(t, d, stores, known, tagged)
			wire.Take()
			if r := sweep(); r.Discovered != sweepSize || r.Armed != sweepSize {
				t.Errorf("the first sweep: %+v", r)
			}
			calls := wire.Take()
			t.Logf("the first sweep of %d secrets: %d calls %v", sweepSize, len(calls), kinds(calls))
			if r := sweep(); r.Discovered+r.Armed+r.Announced+r.Gone != 0 || r.Secrets[scheduler.ReasonScheduled] != sweepSize {
				t.Errorf("a sweep of what has not changed: %+v", r)
			}
			if calls = wire.Take(); len(calls) > c.most {
				t.Errorf("a sweep of %d secrets that have not changed: %d calls %v, want at most %d", sweepSize, len(calls), kinds(calls), c.most)
			}
			t.Logf("a sweep of %d secrets that have not changed: %d calls %v", sweepSize, len(calls), kinds(calls))
		})
	}
}

// TestAPathInAnotherFormIsScheduled: a configured path may be written in another
// form than its store lists it in.
func TestAPathInAnotherFormIsScheduled(t *testing.T) {
	t.Parallel()
	bao, moto := serverstest.StartBao(t), serverstest.StartMoto(t)
	bao.Do(t, http.MethodPost, "secret/data/team/lead", map[string]any{"data": map[string]string{"value": "value"}}, nil)
	outsider := newAWS(t, moto.URL)
	if err := outsider.add(t.Context(), "team/lead", "value", nil); err != nil {
		t.Fatal(err)
	}
	described, err := outsider.DescribeSecret(t.Context(), &sm.DescribeSecretInput{SecretId: aws.String("team/lead")})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		open func(store.Scope) (store.Driver, error)
	}{
		"vault, with a slash in front": {"/team/lead", func(s store.Scope) (store.Driver, error) {
			return vault.Open(vault.Config{Address: bao.URL, Auth: vault.Token{Token: bao.Root}, Scope: s})
		}},
		"aws, by the ARN": {aws.ToString(described.ARN), func(s store.Scope) (store.Driver, error) {
			return awssm.New(outsider.Client, awssm.Config{Scope: s})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stores := new(store.Set)
			known, err := catalog.New(catalog.Config{Stores: stores})
			if err != nil {
				t.Fatal(err)
			}
			d, err := c.open(known.Scope("main"))
			if err != nil {
				t.Fatal(err)
			}
			sweep := sweeper(t, d, stores, known)
			if err := known.Add(catalog.Entry{Spec: secret.Spec{ID: "LEAD", Store: "main", Path: c.path, TTL: time.Hour}, Origin: catalog.Configured}); err != nil {
				t.Fatal(err)
			}
			if r := sweep(); r.Secrets[scheduler.ReasonScheduled] != 1 || r.Armed != 1 {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// sweeper returns a function that sweeps a store on a bus of its own.
func sweeper(t *testing.T, d store.Driver, stores *store.Set, known *catalog.Catalog, tagged ...*catalog.Discovery) func() scheduler.Result {
	t.Helper()
	s := newSite(t, startBroker(t, false))
	nc := s.broker.connect()
	t.Cleanup(nc.Close)
	st, err := store.New("main", d, &store.Options{Logger: s.log})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stores.Add(st), known.Discover(tagged...)); err != nil {
		t.Fatal(err)
	}
	sch, err := scheduler.New(scheduler.Config{Catalog: known, Stores: stores, Bus: s.bus(nc, "scheduler"), Source: "/test/scheduler", Logger: s.log})
	if err != nil {
		t.Fatal(err)
	}
	return func() scheduler.Result {
		t.Helper()
		r, err := sch.Sweep(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
}

// fillStore makes the secrets by which a sweep is measured.
func fillStore(t *testing.T, create func(ctx context.Context, path string, tags map[string]string) error) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	g.SetLimit(8)
	for i := range sweepSize + sweepStrangers {
		g.Go(func() error {
			if i < sweepSize {
				return create(ctx, fmt.Sprintf("apps/%04d", i), map[string]string{catalog.TagManaged: "true", "rotator:services": "api"})
			}
			return create(ctx, fmt.Sprintf("apps/stranger/%04d", i), nil)
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

func sweptAWS(t *testing.T, tagged *catalog.Discovery, scope store.Scope) (store.Driver, *serverstest.Proxy) {
	t.Helper()
	moto := serverstest.StartMoto(t)
	outsider := newAWS(t, moto.URL)
	fillStore(t, func(ctx context.Context, path string, tags map[string]string) error {
		return outsider.add(ctx, path, "value", tags)
	})
	wire := serverstest.StartProxy(t, moto.URL)
	d, err := awssm.New(newAWS(t, wire.URL).Client, awssm.Config{Tags: maps.Clone(tagged.Match), Scope: scope})
	if err != nil {
		t.Fatal(err)
	}
	return d, wire
}

func sweptVault(t *testing.T, tagged *catalog.Discovery, scope store.Scope) (store.Driver, *serverstest.Proxy) {
	t.Helper()
	tagged.Prefix = "apps/0"
	bao := serverstest.StartBao(t)
	fillStore(t, func(_ context.Context, path string, tags map[string]string) error {
		bao.Do(t, http.MethodPost, "secret/metadata/"+path, map[string]any{"custom_metadata": tags}, nil)
		bao.Do(t, http.MethodPost, "secret/data/"+path, map[string]any{"data": map[string]string{"value": "value"}}, nil)
		return nil
	})
	wire := serverstest.StartProxy(t, bao.URL)
	d, err := vault.Open(vault.Config{Address: wire.URL, Auth: vault.Token{Token: bao.Root}, Scope: scope})
	if err != nil {
		t.Fatal(err)
	}
	return d, wire
}
