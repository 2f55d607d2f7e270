package events_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// fleetReport is the report of instance n, padded to about size bytes.
func fleetReport(n, size int) events.Report {
	r := events.Report{Service: "api", Instance: fmt.Sprintf("i%05d", n), At: time.Now()}
	r.Secrets = append(r.Secrets, events.Running{SecretID: id, VersionID: "v1", Status: events.StatusApplied})
	for i := range size / 2048 {
		r.Secrets = append(r.Secrets, events.Running{SecretID: secret.ID(fmt.Sprint("padding/", i)), VersionID: "v1", Status: events.StatusFailed, Reason: strings.Repeat("x", 1980)})
	}
	return r
}

func reportFleet(t *testing.T, b *events.Bus, instances, size int) {
	t.Helper()
	for n := range instances {
		if err := b.Report(t.Context(), fleetReport(n, size), 10*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
}

// whole reads the reports and fails the test unless they name every instance
// once.
func whole(t *testing.T, b *events.Bus, instances int) {
	t.Helper()
	all, err := b.Reports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, r := range all {
		names[r.Instance] = true
	}
	if len(all) != instances || len(names) != instances {
		t.Errorf("%d reports of %d instances, want those of %d", len(all), len(names), instances)
	}
}

// TestReportsAreWholeBeyondTheServersLimit: the server ends a batched answer at
// its max_pending.
func TestReportsAreWholeBeyondTheServersLimit(t *testing.T) {
	t.Parallel()
	const instances, size = 20, 440 << 10
	s := eventstest.NewServer(t)
	s.LimitPending(instances * size * 3 / 4)
	b := s.NewBus(events.StreamOptions{Memory: true})
	reportFleet(t, b, instances, size)
	whole(t, b, instances)
}

// TestReportsAreWholeInSeveralRequests: more instances than one request asks
// for, of which some have ended.
func TestReportsAreWholeInSeveralRequests(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{Memory: true})
	const instances, ended = 1200, 7
	reportFleet(t, b, instances, 0)
	for n := range ended {
		if err := b.Withdraw(t.Context(), "api", fleetReport(n, 0).Instance); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // with the barriers of the calls before
		whole(t, b, instances-ended)
	}
}

// line is a connection that calls cut once it has read so many bytes.
type line struct {
	net.Conn
	left *atomic.Int64
	cut  func(net.Conn)
}

func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p[:min(len(p), 4<<10)])
	if l.left.Add(int64(-n)) < 0 && l.left.Swap(math.MaxInt64) < 0 {
		l.cut(l.Conn)
	}
	return n, err
}

// Dial implements [nats.CustomDialer].
func (l *line) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return &line{c, l.left, l.cut}, err
}

// TestACutAnswerIsAnError: the deadline passes, or the connection is lost, in the
// middle of an answer.
func TestACutAnswerIsAnError(t *testing.T) {
	t.Parallel()
	const instances = 400
	for name, cut := range map[string]func(context.Context, net.Conn){
		"the deadline":   func(ctx context.Context, _ net.Conn) { <-ctx.Done() },
		"the connection": func(_ context.Context, c net.Conn) { _ = c.Close() },
	} {
		for _, after := range []int64{20, 300, 700} {
			t.Run(fmt.Sprint(name, " after ", after, " KiB"), func(t *testing.T) {
				t.Parallel()
				srv := eventstest.NewListener(t)
				reportFleet(t, srv.NewBus(events.StreamOptions{Memory: true}), instances, 8<<10)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				l := &line{left: &atomic.Int64{}, cut: func(c net.Conn) { cut(ctx, c) }}
				l.left.Store(math.MaxInt64)
				nc, err := nats.Connect(srv.URL(), nats.SetCustomDialer(l), nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(nc.Close)
				b, err := events.New(nc, events.Config{Verifier: events.NewVerifier(srv.Signer.Public()), Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				l.left.Store(after << 10)
				if all, err := b.Reports(ctx); err == nil && len(all) != instances {
					t.Errorf("%d of %d reports and no error", len(all), instances)
				}
			})
		}
	}
}

// TestNoParticipantEndsTheAnswer: a service may set every header on its report,
// also those by which the server marks the end of an answer and names subjects.
func TestNoParticipantEndsTheAnswer(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	nc := srv.Connect()
	reportFleet(t, b, 3, 0)
	forged := nats.NewMsg(b.Names().Report("other", "forger"))
	forged.Data = []byte(`{"service":"api","instance":"i00001","secrets":[]}`)
	for k, v := range map[string]string{
		"Status": "204", "Description": "EOB", "Nats-Num-Pending": "0", "Nats-UpTo-Sequence": "99999", "Nats-Last-Sequence": "3",
		"Nats-Subject": b.Names().Report("api", "i00001"), "Nats-Sequence": "99999",
	} {
		forged.Header.Set(k, v)
	}
	for _, data := range [][]byte{forged.Data, nil} {
		forged.Data = data
		if _, err := nc.RequestMsg(forged, time.Minute); err != nil {
			t.Fatal(err)
		}
		reportFleet(t, b, 2, 0) // these come after the forged one
		all, err := b.Reports(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, r := range all {
			if r.Service == "api" && r.Problem == "" && len(r.Secrets) == 1 {
				n++
			}
		}
		if n != 3 {
			t.Errorf("%d of 3 instances are left in %+v", n, all)
		}
	}
}

func TestABarrierIsNoInstance(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	other := srv.Bus(nil, srv.Signer)
	for range 2 {
		for _, bus := range []*events.Bus{b, other} {
			if all, err := bus.Reports(t.Context()); err != nil || len(all) != 0 {
				t.Errorf("%v, err %v, want an empty fleet", all, err)
			}
		}
	}
	seen := make(chan events.ReportEvent, 8)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = b.WatchReports(ctx, func(e events.ReportEvent) error { seen <- e; return nil })
	}()
	if e := <-seen; !e.Synced {
		t.Errorf("the watch begins with %+v, want it synced", e)
	}
	if err := b.Report(t.Context(), events.Report{Service: "_barrier", Instance: "x"}, time.Minute); err == nil {
		t.Error("a service may call itself as barriers are called")
	}
}

// TestReportsOfALostStreamAreAnError: a bus without the stream knows nothing of
// the fleet, which is not an empty fleet.
func TestReportsOfALostStreamAreAnError(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	js, err := srv.Connect().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(b.Names().ReportsStream()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if all, err := b.Reports(ctx); err == nil {
		t.Errorf("%v without an error", all)
	}
}
