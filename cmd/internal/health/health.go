package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/events"
)

// Bus is what is probed; *events.Bus is one.
type Bus interface {
	Connected() bool
	Health(ctx context.Context, others ...events.Probe) []events.StreamHealth
	LastSweep(ctx context.Context) (ago time.Duration, known bool, err error)
}

// Config is what a [Monitor] needs. Bus is required.
type Config struct {
	Bus Bus
	// Probes are streams besides those of the bus, such as that of an embedded store.
	Probes []events.Probe
	// Dir is where a server in this process keeps its streams; "" for none.
	Dir string
	// SweepEvery is how often this program's role sweeps; 0 for one that does not.
	SweepEvery time.Duration
	// Every is the time between two looks, at most a second after one that found
	// something wrong. 0 means 5 s.
	Every time.Duration

	// Nil means slog.Default and the global provider.
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
}

// staleSweeps is after how many intervals without a sweep the program is not ready.
const staleSweeps = 3

// maxSkew is from which difference of clocks on a warning is logged.
const maxSkew = 10 * time.Second

// stickyAfter is how many looks in a row may fail on a disk that takes files.
const stickyAfter = 3

// ErrStuck is returned by [Monitor.Run] when the streams of the server in this process
// refuse writes that its disk would take. A server keeps the error of a write until it
// is started again.
var ErrStuck = errors.New("the embedded server keeps refusing writes although its disk takes them; the program has to be started again, which a supervisor does")

// Monitor looks again and again. It is safe for concurrent use, and is run once.
type Monitor struct {
	cfg   Config
	log   *slog.Logger
	begin time.Time

	mu    sync.Mutex
	state state
	said  string
	wrong bool // the clock, as was logged last
	stuck int  // looks in a row that failed on a disk that takes files
}

// state is what the last look found.
type state struct {
	streams []events.StreamHealth
	disk    disk
	err     error
}

const scope = "github.com/tradepulse/rotator/cmd/internal/health"

// New returns a Monitor, which is not ready before its first look.
func New(cfg Config) (*Monitor, error) {
	cfg.Every = cmp.Or(cfg.Every, 5*time.Second)
	cfg.Logger, cfg.MeterProvider = telemetry.Logger(cfg.Logger), telemetry.Meters(cfg.MeterProvider)
	m := &Monitor{cfg: cfg, log: cfg.Logger, begin: time.Now(), state: state{err: errors.New("the streams have not been probed yet")}}
	return m, m.instruments(cfg.MeterProvider.Meter(scope))
}

// Err returns why the program is not ready.
func (m *Monitor) Err() error {
	if !m.cfg.Bus.Connected() {
		return errors.New("the connection is lost; it is tried again")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.err
}

// Run looks until ctx ends. It returns [ErrStuck] if only a new start helps.
func (m *Monitor) Run(ctx context.Context) error {
	for {
		if err := m.Look(ctx); err != nil {
			return err
		}
		if !backoff.Pause(ctx, m.pause()) {
			return nil
		}
	}
}

// pause returns the time to the next look.
func (m *Monitor) pause() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state.err != nil {
		return min(m.cfg.Every, time.Second)
	}
	return m.cfg.Every
}

// Look looks once. Its error is that of [Monitor.Run].
func (m *Monitor) Look(ctx context.Context) error {
	s := state{streams: m.cfg.Bus.Health(ctx, m.cfg.Probes...)}
	if ctx.Err() != nil {
		return nil
	}
	broken := unwritable(s.streams)
	s.err = errors.Join(append(broken, m.swept(ctx))...)
	var takes error
	if m.cfg.Dir != "" {
		s.disk = usage(m.cfg.Dir)
		takes = writable(m.cfg.Dir)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
	m.say(ctx)
	if m.cfg.Dir == "" || len(broken) == 0 || takes != nil {
		m.stuck = 0
		return nil
	}
	if m.stuck++; m.stuck < stickyAfter {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrStuck, errors.Join(broken...))
}

// unwritable returns why nothing can be published to some of the streams.
func unwritable(streams []events.StreamHealth) []error {
	var errs []error
	for _, h := range streams {
		if h.Err != nil {
			errs = append(errs, h.Err)
		}
	}
	return errs
}

// swept returns an error if no scheduler has swept for too long, by the server's
// clock. After a start it has that long, too.
func (m *Monitor) swept(ctx context.Context) error {
	most := staleSweeps * m.cfg.SweepEvery
	if most == 0 || time.Since(m.begin) < most {
		return nil
	}
	ago, known, err := m.cfg.Bus.LastSweep(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("last sweep: %w", err)
	case !known:
		return errors.New("no sweep has ended since this program or the server started")
	case ago > most:
		return fmt.Errorf("the last sweep ended %s ago, one begins each %s", ago.Round(time.Second), m.cfg.SweepEvery)
	default:
		return nil
	}
}

// say logs each change of what is wrong once. The caller holds mu.
func (m *Monitor) say(ctx context.Context) {
	text := ""
	if m.state.err != nil {
		text = m.state.err.Error()
	}
	m.sayClock(ctx)
	if text == m.said {
		return
	}
	m.said = text
	if text == "" {
		m.log.LogAttrs(ctx, slog.LevelInfo, "health.ok")
		return
	}
	m.log.LogAttrs(ctx, slog.LevelError, "health.failed", slog.String("error", text))
}

// sayClock logs once that the clock is wrong. The caller holds mu.
func (m *Monitor) sayClock(ctx context.Context) {
	skew, known := worst(m.state.streams)
	wrong := known && skew.Abs() > maxSkew
	if wrong && !m.wrong {
		m.log.LogAttrs(ctx, slog.LevelError, "clock.skew", slog.Duration("ahead", skew),
			slog.String("remedy", "set the clocks of this machine and of the NATS servers by NTP"))
	}
	m.wrong = wrong
}
