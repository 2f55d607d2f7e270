package integration

import (
	"log/slog"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/readers"
)

// readers has the programs record, count and show who reads a secret, each within its
// rights.
func (a *accounts) readers(t *testing.T, s *site) {
	t.Helper()
	scheduler, worker := s.bus(a.lawful("SCHEDULER"), "scheduler"), s.bus(a.lawful("WORKER"), "worker")
	notifier, operator := s.bus(a.lawful("NOTIFIER"), "notifier"), s.bus(a.lawful("OPERATOR"), "operator")
	now := time.Now()
	if err := scheduler.RecordRead(t.Context(), events.Sighting{SecretID: accountSecret, Store: "embedded", Identity: "approle/reporting", At: now}); err != nil {
		t.Fatal(err)
	}
	seq, err := scheduler.RecordSource(t.Context(), events.ReadSource{Store: "embedded", Name: "audit", Since: now, At: now}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, again, err := scheduler.Source(t.Context(), "embedded", "audit"); err != nil || again != seq {
		t.Errorf("Source() = %d, %v; want %d", again, err, seq)
	}
	for identity, bus := range map[string]*events.Bus{"entity/scheduler": scheduler, "entity/worker": worker} {
		if err := bus.RecordOwnReader(t.Context(), events.OwnReader{Store: "embedded", Identity: identity}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := operator.Reads(t.Context(), accountSecret)
	if err != nil || len(got.Sightings) != 1 || len(got.Sources) != 1 || len(got.Own) != 2 {
		t.Errorf("the operator reads %+v, %v", got, err)
	}
	cat, err := catalog.New(catalog.Config{Specs: s.specs})
	if err != nil {
		t.Fatal(err)
	}
	m, err := readers.NewMonitor(readers.MonitorConfig{Bus: notifier, Catalog: cat, Logger: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = m.Count(t.Context())
	}
	if err != nil {
		t.Errorf("the notifier counts: %v", err)
	}
}
