package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Current is a version that is in use. It is a copy: holding it does not keep
// it current.
type Current struct {
	Version secret.Version
	Value   secret.Value
	// LoadedAt is when this process took it into use.
	LoadedAt time.Time
	// NotAfter is the end of its life, zero for none.
	NotAfter time.Time
	// Stale is set once the store could not be asked since NotAfter.
	Stale bool
}

// Handle reads one secret.
type Handle struct{ e *entry }

// Get returns the current version: one atomic load, whatever the store does.
// The result must not be changed.
func (h *Handle) Get() *Current { return h.e.current.Load() }

// ID returns the secret's id.
func (h *Handle) ID() secret.ID { return h.e.id }

// Change is a version that is about to be taken into use, or for a staged one to
// be accepted for verification.
type Change struct {
	ID      secret.ID
	Version secret.Version
	Value   secret.Value
	// Staged is true for a version that is not current yet: verify with it, do
	// not sign with it.
	Staged bool
	// AnnouncedAt is when the version was announced, zero when it was found
	// without an announcement.
	AnnouncedAt time.Time
}

// Hook takes a version into use. When it fails the version before stays in use,
// and the hook is called again later. It is not called concurrently for one
// secret.
type Hook func(ctx context.Context, c Change) error

// entry is one secret of a Manager.
type entry struct {
	m       *Manager
	id      secret.ID
	current atomic.Pointer[Current]
	queued  atomic.Bool // a reload is waiting
	// status is what the report says; it can be read while a reload hangs.
	status atomic.Pointer[events.Running]

	mu      sync.Mutex // held by a reload and by what adds a hook
	hooks   []*Hook
	seen    time.Time // of the newest announcement
	retry   time.Duration
	warned  secret.VersionID // the version about which near expiry was said
	nextTry time.Time
}

func attrID(id secret.ID) attribute.KeyValue { return attribute.String("secret.id", string(id)) }

// first loads the first version.
func (e *entry) first(ctx context.Context) error {
	spec, err := e.m.cfg.Source.Spec(e.id)
	if err != nil {
		return remedy(e.id, spec, err)
	}
	v, val, err := e.m.cfg.Source.Read(ctx, e.id, store.Selector{})
	if err != nil {
		return remedy(e.id, spec, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.install(ctx, v, val)
	return nil
}

// install makes a version the one in use; the caller holds the lock.
func (e *entry) install(ctx context.Context, v secret.Version, val secret.Value) {
	now := time.Now()
	c := &Current{Version: v, Value: val, LoadedAt: now, NotAfter: v.NotAfter}
	if spec, err := e.m.cfg.Source.Spec(e.id); err == nil {
		c.NotAfter = spec.NotAfter(secret.Metadata{}, v)
	}
	e.current.Store(c)
	e.status.Store(&events.Running{SecretID: e.id, VersionID: v.ID, Status: events.StatusApplied, At: now})
	e.retry, e.nextTry = 0, time.Time{}
	e.m.meters.rotated.Add(ctx, 1, metric.WithAttributes(attrID(e.id)))
	e.m.log.LogAttrs(ctx, slog.LevelInfo, "secret.rotated", slog.String("secret_id", string(e.id)), slog.String("version_id", string(v.ID)))
}

// Subscribe adds a hook and calls it with the version in use before it returns.
// An error of that call is returned and the hook is not added. The returned
// function takes the hook away.
func (m *Manager) Subscribe(ctx context.Context, id secret.ID, hook Hook) (stop func(), err error) {
	e, ok := m.entries[id]
	if !ok {
		return nil, fmt.Errorf("client: %w: %s", ErrUnknown, id)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.current.Load()
	if err := call(ctx, m.log, hook, Change{ID: id, Version: c.Version, Value: c.Value}); err != nil {
		return nil, fmt.Errorf("client: subscribe to %s: %w", id, err)
	}
	p := &hook
	e.hooks = append(e.hooks, p)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		for i, h := range e.hooks {
			if h == p {
				e.hooks = append(e.hooks[:i:i], e.hooks[i+1:]...)
				return
			}
		}
	}, nil
}

// call runs a hook and turns a panic into an error. What it panicked with is not
// shown: it might be a value.
func call(ctx context.Context, log *slog.Logger, hook Hook, c Change) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the hook panicked with a %T", p)
			log.LogAttrs(ctx, slog.LevelError, "secret.hook.panic", slog.String("secret_id", string(c.ID)), slog.String("stack", string(debug.Stack())))
		}
	}()
	return hook(ctx, c)
}

// notified takes a notification: a reason to look, at most one read of the
// store. What is older than an announcement seen before is dropped, and so is
// what is in use already.
func (m *Manager) notified(ctx context.Context, d events.Delivery) {
	e, ok := m.entries[d.Event.Data.SecretID]
	if !ok {
		return
	}
	if d.Event.Type == events.TypeStaged {
		m.reload(ctx, e, d.Event)
		return
	}
	if c := e.current.Load(); c != nil && c.Version.ID == d.Event.Data.VersionID {
		return
	}
	m.reload(ctx, e, d.Event)
}

// reload looks at a secret in a goroutine of its own, unless one is waiting to
// do so.
func (m *Manager) reload(ctx context.Context, e *entry, cause events.Event) {
	if cause.Type != events.TypeStaged && !e.queued.CompareAndSwap(false, true) {
		return
	}
	link := trace.SpanContextFromContext(ctx)
	m.wg.Go(func() {
		select {
		case m.slots <- struct{}{}:
			defer func() { <-m.slots }()
		case <-m.work.Done():
			return
		}
		rctx, span := m.tracer.Start(trace.ContextWithRemoteSpanContext(m.work, link), "secret.reload", trace.WithAttributes(attrID(e.id)))
		defer span.End()
		if cause.Type == events.TypeStaged {
			e.stage(rctx, cause)
		} else {
			e.refresh(rctx, cause)
		}
	})
}

// refresh reads the current version and takes it into use if it is another one.
func (e *entry) refresh(ctx context.Context, cause events.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queued.Store(false)
	if !cause.Time.IsZero() && cause.Time.Before(e.seen) {
		return // replayed, or overtaken
	}
	have := e.current.Load()
	if have == nil {
		return // the first value is on its way; what it misses, the loop finds
	}
	if cause.Data.VersionID == have.Version.ID && e.status.Load().Status == events.StatusApplied {
		return // a reload that waited in front of this one has done it
	}
	v, val, err := e.m.cfg.Source.Read(ctx, e.id, store.Selector{})
	if err != nil {
		e.failed(ctx, cause.Data.VersionID, err)
		return
	}
	if !cause.Time.IsZero() {
		e.seen = cause.Time
	}
	if v.ID == have.Version.ID {
		if e.status.Load().Status == events.StatusFailed {
			e.status.Store(&events.Running{SecretID: e.id, VersionID: v.ID, Status: events.StatusApplied, At: have.LoadedAt})
			e.m.renew()
		}
		e.retry, e.nextTry = 0, time.Time{}
		e.fresh(have, v)
		return
	}
	c := Change{ID: e.id, Version: v, Value: val, AnnouncedAt: cause.Time}
	if err := e.offer(ctx, c); err != nil {
		e.failed(ctx, v.ID, err)
		return
	}
	e.install(ctx, v, val)
	if !cause.Time.IsZero() {
		e.m.meters.latency.Record(ctx, time.Since(cause.Time).Seconds())
	}
	e.m.renew()
}

// fresh takes a mark of staleness away.
func (e *entry) fresh(have *Current, v secret.Version) {
	if have.Stale {
		c := *have
		c.Stale, c.Version = false, v
		e.current.Store(&c)
	}
}

// offer calls every hook; the first error counts.
func (e *entry) offer(ctx context.Context, c Change) error {
	for _, h := range e.hooks {
		if err := call(ctx, e.m.log, *h, c); err != nil {
			return err
		}
	}
	return nil
}

// maxReason bounds what a report says about a failure.
const maxReason = 200

// failed notes that a version could not be taken into use: the one before stays,
// the bus hears of it, and it is tried again.
func (e *entry) failed(ctx context.Context, wanted secret.VersionID, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	have := e.current.Load()
	reason := err.Error()
	e.status.Store(&events.Running{
		SecretID: e.id, VersionID: have.Version.ID, Status: events.StatusFailed, Wanted: wanted,
		Reason: reason[:min(len(reason), maxReason)], At: have.LoadedAt,
	})
	e.retry = min(max(e.retry*2, e.m.cfg.Retry), time.Minute)
	e.nextTry = time.Now().Add(e.retry)
	e.m.meters.failed.Add(ctx, 1, metric.WithAttributes(attrID(e.id), attribute.String("reason", store.Reason(err))))
	e.m.log.LogAttrs(ctx, slog.LevelError, "secret.reload.failed", slog.String("secret_id", string(e.id)), slog.String("version_id", string(wanted)),
		slog.String("running", string(have.Version.ID)), slog.String("error", err.Error()), slog.Duration("again_in", e.retry))
	e.m.renew()
	select {
	case e.m.wake <- struct{}{}:
	default:
	}
}

// stage offers a pending version for verification.
func (e *entry) stage(ctx context.Context, cause events.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	have := e.current.Load()
	want := cause.Data.VersionID
	if have == nil || have.Version.ID == want || e.status.Load().Wanted == want && e.status.Load().Status == events.StatusStaged || cause.Time.Before(e.seen) {
		return
	}
	v, val, err := e.m.cfg.Source.Read(ctx, e.id, store.Selector{Version: want})
	if err == nil && v.Stage != secret.StagePending {
		return // promoted or given up meanwhile
	}
	if err == nil {
		err = e.offer(ctx, Change{ID: e.id, Version: v, Value: val, Staged: true, AnnouncedAt: cause.Time})
	}
	if err != nil {
		e.failed(ctx, want, err)
		return
	}
	e.seen = cause.Time
	e.status.Store(&events.Running{SecretID: e.id, VersionID: have.Version.ID, Status: events.StatusStaged, Wanted: want, At: have.LoadedAt})
	e.m.renew()
}
