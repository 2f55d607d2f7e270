package readers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Seen is what a [Monitor] reads; *events.Bus is one.
type Seen interface {
	ReadSecrets(ctx context.Context) ([]secret.ID, error)
	Reads(ctx context.Context, id secret.ID) (events.Reads, error)
	Fleet(ctx context.Context, id secret.ID) (events.Fleet, error)
	Last(ctx context.Context, t events.Type, id secret.ID) (events.Announcement, error)
}

// MonitorConfig is what a [Monitor] needs. Bus and Catalog are required.
type MonitorConfig struct {
	Bus     Seen
	Catalog *catalog.Catalog
	Known   rollout.KnownReaders
	// Every is the time between two counts. 0 means a minute.
	Every time.Duration

	// Nil means slog.Default and the global provider.
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
}

// Monitor counts the readers that are not explained.
type Monitor struct {
	cfg MonitorConfig

	mu     sync.Mutex
	counts map[string]int64 // :: store → unknown readers of its secrets
	named  map[named]bool   // :: those that were logged
}

type named struct {
	id       secret.ID
	identity string
}

// NewMonitor returns a Monitor.
func NewMonitor(cfg MonitorConfig) (*Monitor, error) {
	if cfg.Bus == nil || cfg.Catalog == nil {
		return nil, errors.New("readers: Bus and Catalog are required")
	}
	cfg.Every = cmp.Or(cfg.Every, time.Minute)
	cfg.Logger, cfg.MeterProvider = telemetry.Logger(cfg.Logger), telemetry.Meters(cfg.MeterProvider)
	m := &Monitor{cfg: cfg}
	made := telemetry.New(cfg.MeterProvider.Meter(scope))
	made.Observable("rotator.readers.unknown", "{reader}", "Identities that read a secret and report no use of it, by store.", m.show)
	return m, made.Err()
}

func (m *Monitor) show(_ context.Context, o metric.Int64Observer) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for store, n := range m.counts {
		o.Observe(n, metric.WithAttributes(attribute.String("store", store)))
	}
	return nil
}

// Run counts until ctx ends.
func (m *Monitor) Run(ctx context.Context) error {
	for {
		if err := m.Count(ctx); err != nil && ctx.Err() == nil {
			m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "readers.not_counted", slog.String("error", err.Error()))
		}
		if !backoff.Pause(ctx, m.cfg.Every) {
			return nil
		}
	}
}

// Count counts once, and logs readers that were not there before.
func (m *Monitor) Count(ctx context.Context) error {
	ids, err := m.cfg.Bus.ReadSecrets(ctx)
	if err != nil {
		return err
	}
	counts, found := map[string]int64{}, map[named]bool{}
	for _, id := range ids {
		spec, ok := m.cfg.Catalog.Spec(id)
		if !ok {
			continue
		}
		unknown, err := m.unknown(ctx, spec)
		if err != nil {
			return fmt.Errorf("readers of %s: %w", id, err)
		}
		counts[spec.Store] += int64(len(unknown.Readers))
		for _, r := range unknown.Readers {
			found[named{id, r.Identity}] = true
			m.log(ctx, id, r)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for store := range m.counts {
		counts[store] += 0 // an alert ends only once its gauge is zero
	}
	m.counts, m.named = counts, found
	return nil
}

func (m *Monitor) unknown(ctx context.Context, spec secret.Spec) (rollout.UnknownReaders, error) {
	reads, err := m.cfg.Bus.Reads(ctx, spec.ID)
	if err != nil {
		return rollout.UnknownReaders{}, err
	}
	fleet, err := m.cfg.Bus.Fleet(ctx, spec.ID)
	if err != nil {
		return rollout.UnknownReaders{}, err
	}
	announced, err := m.cfg.Bus.Last(ctx, events.TypeRotated, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return rollout.UnknownReaders{}, err
	}
	q := rollout.Question{Spec: spec, Promoted: announced.At}
	if announced.At.IsZero() {
		q.Promoted = fleet.At
	}
	return q.Readers(reads, fleet, m.cfg.Known), nil
}

func (m *Monitor) log(ctx context.Context, id secret.ID, r rollout.Reader) {
	m.mu.Lock()
	known := m.named[named{id, r.Identity}]
	m.mu.Unlock()
	if !known {
		m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "readers.unknown", slog.String("secret_id", string(id)), slog.String("identity", r.Identity),
			slog.String("address", r.Address), slog.Time("last_seen", r.LastSeen))
	}
}
