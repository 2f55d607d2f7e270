package readers_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/readers"
	"github.com/tradepulse/rotator/pkg/rollout"
)

// unknown returns what the gauge of unknown readers shows of the store.
func unknown(t *testing.T, reader *sdk.ManualReader) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if g, ok := m.Data.(metricdata.Gauge[int64]); ok && m.Name == "rotator.readers.unknown" && len(g.DataPoints) == 1 {
				return g.DataPoints[0].Value
			}
		}
	}
	return -1
}

func TestUnknownReadersAreCounted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	reader := sdk.NewManualReader()
	var log bytes.Buffer
	m, err := readers.NewMonitor(readers.MonitorConfig{
		Bus: s.bus, Catalog: s.cat, Known: rollout.KnownReaders{Services: map[string][]string{"orders": {"approle/orders"}}},
		Logger: slog.New(slog.NewTextHandler(&log, nil)), MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader)),
	})
	if err != nil {
		t.Fatal(err)
	}
	recorder := readers.NewRecorder(s.bus, s.cat)
	count := func(want int64) {
		t.Helper()
		if err := m.Count(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := unknown(t, reader); got != want {
			t.Errorf("%d unknown readers, want %d", got, want)
		}
	}
	for _, identity := range []string{"approle/orders", "approle/reporting", "approle/rotator"} {
		if err := recorder.Record(t.Context(), events.Sighting{SecretID: id, Store: "vault", Identity: identity}); err != nil {
			t.Fatal(err)
		}
	}
	count(2)
	count(2)
	if n := strings.Count(log.String(), "readers.unknown"); n != 2 {
		t.Errorf("%d lines for two readers:\n%s", n, log.String())
	}
	if err := s.bus.RecordOwnReader(t.Context(), events.OwnReader{Store: "vault", Identity: "approle/rotator"}); err != nil {
		t.Fatal(err)
	}
	count(1)
	js, err := s.server.Connect().JetStream()
	if err == nil {
		err = js.PurgeStream(s.bus.Names().ReadersStream())
	}
	if err != nil {
		t.Fatal(err)
	}
	count(0) // and not nothing: the alert has to end
}

// TestARecorderWritesTheSameOnceAMinute: a service may read a secret at each request.
func TestARecorderWritesTheSameOnceAMinute(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := readers.NewRecorder(s.bus, s.cat)
	js, err := s.server.Connect().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		for _, version := range []string{"v1", "v2"} {
			if err := r.Record(t.Context(), events.Sighting{SecretID: id, Store: "vault", Identity: "approle/orders", VersionID: "v1", Stage: version}); err != nil {
				t.Fatal(err)
			}
		}
	}
	info, err := js.StreamInfo(s.bus.Names().ReadersStream())
	if err != nil || info.State.LastSeq != 2 {
		t.Errorf("%d records were written, %v; want 2", info.State.LastSeq, err)
	}
}

type identified struct {
	name, identity string
	err            error
}

func (i identified) Name() string                             { return i.name }
func (i identified) Identity(context.Context) (string, error) { return i.identity, i.err }

func TestIdentify(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- readers.Identify(ctx, s.bus, []readers.Identified{
			identified{name: "down", err: errors.New("no route")}, identified{name: "env"},
			identified{name: "aws", identity: "arn:aws:sts::111122223333:assumed-role/rotator/i-0abc"},
		}, slog.New(slog.DiscardHandler))
	}()
	want := events.OwnReader{Store: "aws", Identity: "arn:aws:iam::111122223333:role/rotator"}
	waittest.Until(t, "the identity is recorded", func() error {
		if got := s.reads().Own; len(got) != 1 || got[0] != want {
			return errors.New("it is not")
		}
		return nil
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
