package drift

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// Catalog lists the secrets; *catalog.Catalog is one.
type Catalog interface {
	Entries() iter.Seq[catalog.Entry]
}

// Stores returns the store with a name; *store.Set is one.
type Stores interface {
	Get(name string) (*store.Store, bool)
}

// Bus keeps what was found last; *events.Bus is one.
type Bus interface {
	Last(ctx context.Context, t events.Type, id secret.ID) (events.Announcement, error)
	PublishAfter(ctx context.Context, e events.Event, after uint64) (uint64, error)
}

// Config is what a [Watcher] works with. Catalog, Stores, Bus and TargetFor are required.
type Config struct {
	Catalog Catalog
	Stores  Stores
	Bus     Bus
	// TargetFor returns the target of a secret, nil for none.
	TargetFor func(ctx context.Context, s secret.Spec) (target.Target, error)
	// Source names this worker in events.
	Source string
	// Every is the time between two logins for one secret; one that did not work is
	// tried again after a sixth of that. It varies by a quarter. 0 means an hour,
	// negative never.
	Every time.Duration
	// Concurrency is how many logins there are at a time. 0 means 4.
	Concurrency int
	// Timeout bounds a login; the lag of the target comes on top. 0 means 30 s.
	Timeout time.Duration

	// Nil means slog.Default and the global provider.
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
}

// The part of Every after which a secret is tried again that did not work, and for which
// a first try waits at most.
const soon = 6

// ErrConfig is returned by [New] for a Config that lacks something.
var ErrConfig = errors.New("drift: Catalog, Stores, Bus and TargetFor are required")

// Watcher logs in with current versions. [Watcher.Run] is called once.
type Watcher struct {
	cfg Config
	log *slog.Logger
	due map[secret.ID]time.Time // of the next try

	mu   sync.Mutex
	seen map[secret.ID]events.VerifiedState
}

const scope = "github.com/tradepulse/rotator/pkg/drift"

// New returns a Watcher that has looked at nothing yet.
func New(cfg Config) (*Watcher, error) {
	if cfg.Catalog == nil || cfg.Stores == nil || cfg.Bus == nil || cfg.TargetFor == nil {
		return nil, ErrConfig
	}
	cfg.Every, cfg.Concurrency, cfg.Timeout = cmp.Or(cfg.Every, time.Hour), cmp.Or(cfg.Concurrency, 4), cmp.Or(cfg.Timeout, 30*time.Second)
	w := &Watcher{cfg: cfg, log: telemetry.Logger(cfg.Logger), due: map[secret.ID]time.Time{}, seen: map[secret.ID]events.VerifiedState{}}
	i := telemetry.New(telemetry.Meters(cfg.MeterProvider).Meter(scope))
	i.Observable("rotator.target.verification", "{secret}", "1 for what the last login with the current version at its target showed, else 0, by secret and state.", w.show)
	return w, i.Err()
}

// show observes zeros too: an alert ends only once its gauge is zero.
func (w *Watcher) show(_ context.Context, o metric.Int64Observer) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, is := range w.seen {
		for _, state := range []events.VerifiedState{events.VerifiedWorks, events.VerifiedRefused, events.VerifiedUnknown} {
			var n int64
			if state == is {
				n = 1
			}
			o.Observe(n, metric.WithAttributes(attribute.String("secret_id", string(id)), attribute.String("state", string(state))))
		}
	}
	return nil
}

// Run looks at every secret that has a target until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	if w.cfg.Every < 0 {
		return nil
	}
	for backoff.Pause(ctx, min(w.cfg.Every/60, time.Minute)) {
		w.round(ctx)
	}
	return nil
}

// round tries what is due.
func (w *Watcher) round(ctx context.Context) {
	now, known := time.Now(), map[secret.ID]bool{}
	var g errgroup.Group
	g.SetLimit(w.cfg.Concurrency)
	var mu sync.Mutex
	next := map[secret.ID]time.Time{}
	for e := range w.cfg.Catalog.Entries() {
		id := e.Spec.ID
		if id == "" || e.Origin == catalog.Removed {
			continue
		}
		known[id] = true
		at, planned := w.due[id]
		switch {
		case !planned:
			w.due[id] = now.Add(backoff.Random(w.cfg.Every / soon))
		case !at.After(now):
			g.Go(func() error {
				state := w.Look(ctx, e.Spec)
				mu.Lock()
				defer mu.Unlock()
				next[id] = time.Now().Add(w.pause(state))
				return nil
			})
		}
	}
	_ = g.Wait() // it returns nothing
	maps.Copy(w.due, next)
	w.forget(known)
}

// pause returns the time to the next try.
func (w *Watcher) pause(last events.VerifiedState) time.Duration {
	every := w.cfg.Every
	if last == events.VerifiedRefused || last == events.VerifiedUnknown {
		every /= soon
	}
	return every*3/4 + backoff.Random(every/2)
}

// forget drops what is known of secrets that are not managed any more.
func (w *Watcher) forget(known map[secret.ID]bool) {
	maps.DeleteFunc(w.due, func(id secret.ID, _ time.Time) bool { return !known[id] })
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.seen, func(id secret.ID, _ events.VerifiedState) bool { return !known[id] })
}

// note keeps what a look at a secret has shown, "" for nothing.
func (w *Watcher) note(id secret.ID, state events.VerifiedState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if state == "" {
		delete(w.seen, id)
		return
	}
	w.seen[id] = state
}
