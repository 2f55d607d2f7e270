package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// clock is a Manager on one secret without a bus, for fake time.
type clock struct {
	t      *testing.T
	mem    *storetest.Mem
	down   atomic.Bool
	reads  atomic.Int64
	m      *client.Manager
	h      *client.Handle
	reader *sdkmetric.ManualReader
	log    waittest.Buffer
	n      int
}

// inFakeTime runs f in a bubble with a Manager whose secret lives for ttl.
func inFakeTime(t *testing.T, ttl time.Duration, change func(*client.Config), f func(*clock)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &clock{t: t, mem: storetest.NewMem(nil), reader: sdkmetric.NewManualReader()}
		c.mem.Fault = func(op, _ string) error {
			if op == "get" {
				c.reads.Add(1)
			}
			if c.down.Load() {
				return fmt.Errorf("%w: the store is down", store.ErrUnavailable)
			}
			return nil
		}
		st, err := store.New("mem", c.mem, &store.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		source, err := client.FromSpecs([]*store.Store{st}, []secret.Spec{{ID: key, Store: "mem", TTL: ttl}})
		if err != nil {
			t.Fatal(err)
		}
		c.write()
		cfg := client.Config{
			Service: "api", Source: source, IDs: []secret.ID{key}, PollInterval: -1,
			Lookup:        func(string) (string, bool) { return "", false },
			Logger:        slog.New(slog.NewTextHandler(&c.log, nil)),
			MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(c.reader)),
		}
		if change != nil {
			change(&cfg)
		}
		if c.m, err = client.New(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		c.h = c.m.Secret(key)
		f(c)
		if err := c.m.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// write makes another value current.
func (c *clock) write() {
	c.t.Helper()
	ctx := context.Background()
	var from secret.VersionID
	if meta, err := c.mem.Describe(ctx, string(key)); err == nil {
		from = meta.Current().ID
	}
	c.n++
	text := fmt.Sprintf("value-%d", c.n)
	v, err := c.mem.Put(ctx, string(key), store.Write{Token: secret.Token(text), From: from, Value: secret.NewValue([]byte(text)), Create: true})
	if err == nil {
		err = c.mem.Promote(ctx, string(key), from, v.ID)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// pass lets fake time go by.
func (c *clock) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// metric returns the sum of a metric over its data points with the attribute,
// if one is given.
func (c *clock) metric(name string, attr ...attribute.KeyValue) int64 {
	c.t.Helper()
	var all metricdata.ResourceMetrics
	if err := c.reader.Collect(context.Background(), &all); err != nil {
		c.t.Fatal(err)
	}
	var sum int64
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			data, ok := m.Data.(metricdata.Sum[int64])
			if m.Name != name || !ok {
				continue
			}
			for _, p := range data.DataPoints {
				if v, _ := p.Attributes.Value("read"); len(attr) == 0 || v == attr[0].Value {
					sum += p.Value
				}
			}
		}
	}
	return sum
}

func lookup(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

// TestRefreshesBeforeExpiry: the store is asked the margin before the end of a
// version, and a version that it has by then is taken without a word.
func TestRefreshesBeforeExpiry(t *testing.T) {
	inFakeTime(t, time.Hour, nil, func(c *clock) {
		c.pass(54 * time.Minute)
		c.write()
		c.pass(59 * time.Second)
		if value(c.h.Get()) != "value-1" {
			t.Error("it was asked for earlier than the default margin of five minutes")
		}
		c.pass(2 * time.Second)
		if value(c.h.Get()) != "value-2" {
			t.Error("it was not asked for five minutes before the end")
		}
		if n := c.metric("secret.near_expiry"); n != 0 {
			t.Errorf("near expiry was said %d times although a newer version had arrived", n)
		}
	})
}

// TestSaysThatNoNewerVersionHasArrived once, when the version in use is near its end.
func TestSaysThatNoNewerVersionHasArrived(t *testing.T) {
	inFakeTime(t, time.Hour, nil, func(c *clock) {
		c.pass(54*time.Minute + 59*time.Second)
		if c.metric("secret.near_expiry") != 0 {
			t.Error("near expiry was said earlier than the default margin of five minutes")
		}
		c.pass(time.Minute)
		if n := c.metric("secret.near_expiry"); n != 1 || strings.Count(c.log.String(), "level=WARN msg=secret.near_expiry") != 1 {
			t.Errorf("near expiry was said %d times, want once", n)
		}
	})
}

// TestServesStaleForAWhile: while the store is down the last value is served past its
// end, as stale, and a store that is back mends it. Past the fence a read says so,
// and still has the value.
func TestServesStaleForAWhile(t *testing.T) {
	inFakeTime(t, time.Hour, func(c *client.Config) { c.Fence = 90 * time.Minute }, func(c *clock) {
		c.pass(time.Minute)
		c.down.Store(true)
		for _, step := range []struct {
			pass          time.Duration
			stale, fenced bool
			gauge         int64
		}{
			{58 * time.Minute, false, false, 0},
			{2 * time.Minute, true, false, 1},
			{28 * time.Minute, true, false, 1},
			{2 * time.Minute, true, true, 1},
		} {
			c.pass(step.pass)
			got := c.h.Get()
			if got.Stale != step.stale || c.metric("secret.stale") != step.gauge {
				t.Errorf("after %s more: stale %t, metric %d; want %+v", step.pass, got.Stale, c.metric("secret.stale"), step)
			}
			if value(got) != "value-1" || errors.Is(got.Err(), client.ErrFence) != step.fenced {
				t.Errorf("after %s more a handle gives err %v", step.pass, got.Err())
			}
			if byName, err := c.m.Get(c.t.Context(), key); errors.Is(err, client.ErrFence) != step.fenced || value(&byName) != "value-1" {
				t.Errorf("after %s more the error by name is %v", step.pass, err)
			}
		}
		for _, want := range []string{"level=WARN msg=secret.stale", "level=ERROR msg=secret.fenced"} {
			if strings.Count(c.log.String(), want) != 1 {
				t.Errorf("the log has %d times %q", strings.Count(c.log.String(), want), want)
			}
		}
		c.down.Store(false)
		c.pass(time.Minute) // the longest time between two tries
		if got := c.h.Get(); got.Stale || got.Err() != nil || c.metric("secret.stale") != 0 {
			t.Errorf("it does not recover: stale %t, err %v", got.Stale, got.Err())
		}
	})
}

// TestAnOutageCostsFewCalls: ten seconds of a store that is down, with a reader
// every millisecond.
func TestAnOutageCostsFewCalls(t *testing.T) {
	inFakeTime(t, 0, func(c *client.Config) { c.PollInterval = time.Second }, func(c *clock) {
		c.down.Store(true)
		before := c.reads.Load()
		for range 10_000 {
			time.Sleep(time.Millisecond)
			_ = c.h.Get()
		}
		if n := c.reads.Load() - before; n > 14 {
			t.Errorf("%d calls of the store in ten seconds", n)
		}
	})
}

// TestTheCachedLifetimeIsThatOfTheEnvironment: <ID>_TTL_SECONDS has the store
// asked a margin before it ends, again and again.
func TestTheCachedLifetimeIsThatOfTheEnvironment(t *testing.T) {
	set := func(seconds string) func(*client.Config) {
		return func(c *client.Config) {
			c.Lookup = lookup(map[string]string{string(key) + "_TTL_SECONDS": seconds})
		}
	}
	inFakeTime(t, 0, set("3600"), func(c *clock) {
		c.pass(5*time.Hour + time.Minute)
		if n := c.reads.Load() - 1; n != 5 { // every 55 minutes
			t.Errorf("the store was asked %d times", n)
		}
		if got := c.h.Get(); got.Stale || !got.NotAfter.IsZero() {
			t.Error("asking did not keep it fresh")
		}
		c.down.Store(true)
		c.pass(time.Hour)
		if !c.h.Get().Stale {
			t.Error("it is not stale although the lifetime is over")
		}
	})
	inFakeTime(t, 0, set("60"), func(c *clock) { // shorter than the margin
		c.write()
		c.pass(31 * time.Second)
		if value(c.h.Get()) != "value-2" || c.reads.Load() != 2 {
			t.Errorf("after half of the lifetime the store was asked %d times", c.reads.Load()-1)
		}
	})
}

func TestALifetimeThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	for _, text := range []string{"0", "-1", "soon", "", "1.5", "1e3", "99999999999999999999", "999999999999"} {
		_, err := client.New(t.Context(), client.Config{
			Service: "api", Source: r.source, IDs: []secret.ID{key, token}, Logger: quiet,
			Lookup: lookup(map[string]string{string(key) + "_TTL_SECONDS": text}),
		})
		if !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%q: err %v", text, err)
			continue
		}
		for _, want := range []string{"1 of 2", string(key) + "_TTL_SECONDS", "whole number of seconds", "unset it"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: the error does not say %q: %v", text, want, err)
			}
		}
	}
}

// TestReadsAreCounted: each of them, at the time of the collection, and a line in the
// log says so at most once in ten seconds for a secret.
func TestReadsAreCounted(t *testing.T) {
	inFakeTime(t, 0, nil, func(c *clock) {
		byName, byHandle := attribute.String("read", "name"), attribute.String("read", "handle")
		c.pass(time.Minute)
		if n := c.metric("secret.access"); n != 0 {
			t.Errorf("%d accesses without a read", n)
		}
		for range 3 {
			for range 100 {
				_ = c.h.Get()
			}
			if _, err := c.m.Get(c.t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		if n := c.metric("secret.access", byHandle); n != 300 {
			t.Errorf("%d reads through a handle before the next look, want 300", n)
		}
		c.pass(time.Minute)
		if log := c.log.String(); strings.Count(log, "secret.access") != 1 || !strings.Contains(log, "level=INFO msg=secret.access secret_id="+string(key)+" count=303") {
			t.Errorf("want one line about 303 reads:\n%s", log)
		}
		if n := c.metric("secret.access", byName); n != 3 {
			t.Errorf("%d accesses by name, want 3", n)
		}
		if n := c.metric("secret.access", byHandle); n != 300 {
			t.Errorf("%d reads through a handle, want 300", n)
		}
	})
}

// TestThePollIsSpread: many secrets are each asked for once in an interval, and
// never all at once.
func TestThePollIsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := storetest.NewMem(nil)
		var reads, burst, most atomic.Int64
		mem.Fault = func(op, _ string) error {
			if op == "get" {
				reads.Add(1)
				if n := burst.Add(1); n > most.Load() {
					most.Store(n)
				}
			}
			return nil
		}
		st, err := store.New("mem", mem, &store.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		const n = 1000
		specs, ids := many(t, mem, n)
		source, err := client.FromSpecs([]*store.Store{st}, specs)
		if err != nil {
			t.Fatal(err)
		}
		m, err := client.New(t.Context(), client.Config{Service: "api", Source: source, IDs: ids, PollInterval: time.Hour, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		reads.Store(0)
		most.Store(0)
		for range 60 {
			burst.Store(0)
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if got := reads.Load(); got < n || got > n*12/10 {
			t.Errorf("%d reads of %d secrets in an interval", got, n)
		}
		if most.Load() > n/20 {
			t.Errorf("%d reads in one minute of an hour", most.Load())
		}
		if err := m.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// many makes n secrets with a value each.
func many(tb testing.TB, mem *storetest.Mem, n int) (specs []secret.Spec, ids []secret.ID) {
	tb.Helper()
	ctx := tb.Context()
	for i := range n {
		id := secret.ID(fmt.Sprintf("secret-%05d", i))
		v, err := mem.Put(ctx, string(id), store.Write{Token: "one", Value: secret.NewValue([]byte("a value of thirty-two characters")), Create: true})
		if err == nil {
			err = mem.Promote(ctx, string(id), "", v.ID)
		}
		if err != nil {
			tb.Fatal(err)
		}
		specs, ids = append(specs, secret.Spec{ID: id, Store: "mem"}), append(ids, id)
	}
	return specs, ids
}
