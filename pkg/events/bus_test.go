package events_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

const id = secret.ID("prod/api-key")

func event(t events.Type, v secret.VersionID) events.Event {
	now := time.Now()
	e := events.Event{
		ID: string(secret.NewToken(id, v, string(t), 0)), Type: t, Source: "/test", Time: now,
		Data: events.Data{SecretID: id, Store: "main", VersionID: v, Reason: events.ReasonNearExpiry, OccurredAt: now},
	}
	if t == events.TypeRollout {
		e.Data.Rollout = &events.Rollout{State: events.RolloutConverged}
	}
	return e
}

// consume runs a consumer until the test ends.
func consume(t *testing.T, b *events.Bus, cfg events.ConsumeConfig, h events.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- b.Consume(ctx, cfg, h) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("consume: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestOnlyOneOfManyAnnouncesAVersion(t *testing.T) {
	t.Parallel()
	s := eventstest.NewServer(t)
	b := s.NewBus(events.StreamOptions{})
	var wins atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			switch _, err := b.PublishAfter(t.Context(), event(events.TypeRotated, "v1"), 0); {
			case err == nil:
				wins.Add(1)
			case !errors.Is(err, events.ErrConflict):
				t.Errorf("publish: %v", err)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Errorf("%d announced it", wins.Load())
	}
	last, err := b.Last(t.Context(), events.TypeRotated, id)
	if err != nil || last.Event.Data.VersionID != "v1" {
		t.Fatalf("last is %+v, err %v", last, err)
	}
	if _, err := b.PublishAfter(t.Context(), event(events.TypeRotated, "v1"), 0); !errors.Is(err, events.ErrConflict) {
		t.Errorf("the same again after a stale sequence: %v, want a conflict, not a duplicate taken for success", err)
	}
}

// TestHostileMessages puts everything that is no event of ours on every subject
// that a program consumes: nothing reaches a handler and nothing stays.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	s := eventstest.NewServer(t)
	b := s.NewBus(events.StreamOptions{})
	stranger, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	nc := s.Connect()
	genuine := capture(t, s, b)
	names := b.Names()
	other := secret.ID("other").Key()
	for name, forge := range map[string]func(m *nats.Msg){
		"no headers":          func(m *nats.Msg) { m.Header = nil },
		"a changed body":      func(m *nats.Msg) { m.Data = []byte(strings.Replace(string(m.Data), "v1", "v9", 1)) },
		"no signature":        func(m *nats.Msg) { m.Header.Del("ce-signature") },
		"a broken signature":  func(m *nats.Msg) { m.Header.Set("ce-signature", "AAAA") },
		"an unknown key":      func(m *nats.Msg) { m.Header.Set("ce-keyid", events.KeyID(stranger.Public())) },
		"an unknown type":     func(m *nats.Msg) { m.Header.Set("ce-type", "secret.leaked") },
		"another secret":      func(m *nats.Msg) { m.Header.Set("ce-subject", "other") },
		"another time":        func(m *nats.Msg) { m.Header.Set("ce-time", "2099-01-01T00:00:00Z") },
		"too large":           func(m *nats.Msg) { m.Data = []byte(strings.Repeat("x", 1<<20-4096)) },
		"another secret's":    func(m *nats.Msg) { m.Subject = names.Event(events.TypeNearExpiry, other) },
		"not even JSON":       func(m *nats.Msg) { m.Data = []byte("\xff\xfe{") },
		"of another event":    func(m *nats.Msg) { m.Subject = names.Event(events.TypeRetire, id.Key()) },
		"of the specversion":  func(m *nats.Msg) { m.Header.Set("ce-specversion", "9") },
		"of the content type": func(m *nats.Msg) { m.Header.Set("ce-datacontenttype", "text/html") },
	} {
		t.Run(name, func(t *testing.T) {
			m := nats.NewMsg(names.Event(events.TypeNearExpiry, id.Key()))
			m.Data = append([]byte(nil), genuine.Data...)
			for k, v := range genuine.Header {
				m.Header[k] = append([]string(nil), v...)
			}
			forge(m)
			if err := nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var handled atomic.Int32
	consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer, Concurrency: 4}, func(context.Context, events.Delivery) error {
		handled.Add(1)
		return nil
	})
	waittest.Until(t, "the queue of rotations is empty", func() error { return queueEmpty(t, b) })
	if handled.Load() != 0 {
		t.Errorf("%d hostile messages reached the handler", handled.Load())
	}
}

// capture returns a genuine near-expiry message.
func capture(t *testing.T, s *eventstest.Server, b *events.Bus) *nats.Msg {
	t.Helper()
	nc := s.Connect()
	sub, err := nc.SubscribeSync(b.Names().Event(events.TypeNearExpiry, id.Key()))
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	handled := make(chan struct{}, 1)
	stop := consume(t, b, events.ConsumeConfig{Consumer: events.WorkerConsumer}, func(context.Context, events.Delivery) error {
		handled <- struct{}{}
		return nil
	})
	if err := b.RotateNow(t.Context(), event(events.TypeNearExpiry, "v1")); err != nil {
		t.Fatal(err)
	}
	m, err := sub.NextMsg(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	<-handled // the queue may seem empty before the consumer has heard of the message
	waittest.Until(t, "the queue of rotations is empty", func() error { return queueEmpty(t, b) })
	stop()
	return m
}

func TestNotificationsNeverGoBack(t *testing.T) {
	t.Parallel()
	s := eventstest.NewServer(t)
	b := s.NewBus(events.StreamOptions{})
	heard := make(chan secret.VersionID, 8)
	stop, err := b.SubscribeNotify(t.Context(), "api", func(_ context.Context, d events.Delivery) { heard <- d.Event.Data.VersionID })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	begin := time.Now()
	for _, n := range []struct {
		v   secret.VersionID
		seq uint64
		at  time.Duration
	}{
		{"v2", 20, 2 * time.Second},
		{"v1", 10, time.Second},     // late
		{"v2", 20, 2 * time.Second}, // again
		{"v3", 30, 3 * time.Second},
		{"v4", 1, 4 * time.Second}, // the log was lost and counts from 1 again
	} {
		e := event(events.TypeRotated, n.v)
		e.Time = begin.Add(n.at)
		if err := b.Notify(t.Context(), "api", e, n.seq); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []secret.VersionID{"v2", "v3", "v4"} {
		if got := <-heard; got != want {
			t.Errorf("heard %s, want %s", got, want)
		}
	}
	last, err := b.LastNotified(t.Context(), "api", id)
	if err != nil || last.Event.Data.VersionID != "v4" || last.Seq != 1 {
		t.Errorf("last %+v, err %v", last, err)
	}
}

func TestReportsEndWithTheirLeaseOrWithTheirProcess(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	report := func(instance string) events.Report {
		return events.Report{Service: "api", Instance: instance, At: time.Now(), Secrets: []events.Running{{SecretID: id, VersionID: "v1", Status: events.StatusApplied}}}
	}
	for _, i := range []string{"closes", "dies"} {
		if err := b.Report(t.Context(), report(i), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	all, err := b.Reports(t.Context())
	if err != nil || len(all) != 2 {
		t.Fatalf("%d reports, err %v", len(all), err)
	}
	gone := make(chan string, 8)
	go func() {
		_ = b.WatchReports(t.Context(), func(e events.ReportEvent) error {
			if e.Gone {
				gone <- e.Report.Instance
			}
			return nil
		})
	}()
	if err := b.Withdraw(t.Context(), "api", "closes"); err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{"closes": true, "dies": true}
	for len(left) > 0 {
		delete(left, <-gone)
	}
	// The watch measures a lease itself, so it may be ahead of the server.
	waittest.Until(t, "the server has removed the reports", func() error {
		all, err := b.Reports(t.Context())
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("%d reports are left", len(all))
		}
		return err
	})
}

func TestServersThatAreTooOldAreNamed(t *testing.T) {
	t.Parallel()
	for version, ok := range map[string]bool{"2.14.0": true, "2.15.2": true, "3.0.0": true, "2.13.9": false, "2.2.0": false, "1.99.0": false, "": false, "next": false} {
		err := events.CheckServer(version)
		if (err == nil) != ok || err != nil && (!errors.Is(err, events.ErrServerTooOld) || !strings.Contains(err.Error(), "2.14")) {
			t.Errorf("%q: %v", version, err)
		}
	}
}

func TestSigningKeysComeBackFromTheirFiles(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/signing.key"
	made, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := events.LoadSigner(path)
	if err != nil || !loaded.Public().Equal(made.Public()) {
		t.Errorf("the private key does not come back: %v", err)
	}
	if pub, err := events.LoadPublicKey(path + ".pub"); err != nil || !pub.Equal(made.Public()) {
		t.Errorf("the public key does not come back: %v", err)
	}
	if made.Save(path) == nil {
		t.Error("a key was overwritten")
	}
}
