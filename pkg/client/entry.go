package client

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/client/internal/fence"
	"github.com/tradepulse/rotator/pkg/client/internal/reload"
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
	// NotAfter is the earliest known end of its life, zero for none: that of the TTL, of
	// the store or of the announcement.
	NotAfter time.Time
	// Stale is set while the store could not be asked since NotAfter, or since
	// the cached lifetime that <ID>_TTL_SECONDS sets has ended.
	Stale bool

	e *entry
}

// Err returns nil, or a [FenceError] for a version that should not be used any more:
// it may have been retired. The clocks are read by the call, and the store is not.
func (c *Current) Err() error {
	if c.e == nil || c.e.claim.usable() {
		return nil
	}
	return c.e.fenced(context.Background(), nil)
}

// Handle reads one secret.
type Handle struct{ e *entry }

// Get returns the current version, also one that is stale or past its fence: one
// atomic load and one count, whatever the store does. The result must not be changed.
func (h *Handle) Get() *Current {
	h.e.access.reads[readHandle].inc()
	return h.e.current.Load()
}

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

// entry is one secret of a Manager: the shell around its reload machine. feed is
// the only writer of state, current, status and due.
type entry struct {
	current atomic.Pointer[Current]
	access  access
	status  atomic.Pointer[events.Running] // what the report says
	// due is when the loop has to feed [reload.Clock], in nanoseconds; 0 means
	// never.
	due    atomic.Int64
	handle Handle
	m      *Manager
	id     secret.ID
	// checked is set for a secret that is checked at use, see [Config.CheckedAtUse].
	checked bool
	// optional is set for a secret that need not be there, and missing, once it was not,
	// to a string that says what to do.
	optional bool
	missing  atomic.Value
	// ttl is that of the spec, 0 for none, and fence the length of the fence. Both are
	// set before the first version is in use.
	ttl, fence time.Duration
	claim      claim
	// gone is set once the secret was dropped: its use has ended. writing of the claim
	// guards it.
	gone bool
	// leaving is set while a reload drops the secret, and after it has: users are refused.
	// mu guards it.
	leaving bool
	// source is where the secret is read, and origin where it was read before it moved,
	// which only [Manager.Reload] uses.
	source   atomic.Pointer[Source]
	origin   Source
	trips    tripwire
	fencedAt atomic.Int64 // when a use past the fence was logged last, in nanoseconds
	// mu guards what follows. It is never held while a store or a hook is called, or
	// something is logged.
	mu    sync.Mutex
	rules reload.Rules
	state reload.State
	// moves is how often the secret has moved. What a read that began before the last move
	// answers is of another place, and counts for nothing.
	moves uint64
	heard reload.Announcement // the newest notification, of any kind
	idle  chan struct{}       // closed when no reload is under way; nil when nothing waits for that
	free  chan struct{}       // closed when hooking ends; nil when nothing waits for that
	// hooking is the lock of hooks, which a context can interrupt; see lockHooks.
	// It is held while hooks are called. A reload holds it from prepare to commit,
	// so that a hook that is added misses no version.
	hooking   bool
	hooks     []*subscriber // changed with hooking held as well
	withdrawn []secret.VersionID
	acceptors []acceptor
	offering  secret.VersionID // is offered to hooks, "" for none
	keep      secret.VersionID // of the last [reload.Drop]
}

// lockHooks waits until no hooks are called and keeps others from calling them,
// unless ctx ends before. A sync.Mutex would not do: no context ends its Lock, and
// a hook may take long.
func (e *entry) lockHooks(ctx context.Context) error {
	for {
		e.mu.Lock()
		if !e.hooking {
			e.hooking = true
			e.mu.Unlock()
			return nil
		}
		if e.free == nil {
			e.free = make(chan struct{})
		}
		free := e.free
		e.mu.Unlock()
		select {
		case <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unlockHooks lets the others compete for the lock.
func (e *entry) unlockHooks() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hooking = false
	if e.free != nil {
		close(e.free)
		e.free = nil
	}
}

// attrID is the attribute of metrics and spans, attrLogID that of logs.
func attrID(id secret.ID) attribute.KeyValue { return attribute.String("secret.id", string(id)) }

func attrLogID(id secret.ID) slog.Attr { return slog.String("secret_id", string(id)) }

// loaded is a version that was read from the store and is not in use yet. Only the
// goroutine of its reload holds it.
type loaded struct {
	version secret.Version
	value   secret.Value
	// asked is when the primary was asked for the current version, zero for a read of
	// another one.
	asked fence.Clock
	moves uint64 // as of the entry when the read began
}

// readAgain is the least first pause after a read that did not return the announced
// version; the longest is twice that.
const readAgain = 100 * time.Millisecond

// configure takes over what the source says of the secret. Its error names the
// secret, where it was looked for, and what to do.
func (e *entry) configure() error {
	spec, err := (*e.source.Load()).Spec(e.id)
	if err != nil {
		return remedy(e.id, spec, err)
	}
	lifetime, err := e.m.lifetime(e.id)
	if err != nil {
		return remedy(e.id, spec, err)
	}
	e.mu.Lock() // a notification may come before the first version
	defer e.mu.Unlock()
	e.ttl, e.fence = spec.TTL, cmp.Or(e.m.cfg.Fence, spec.FencePeriod())
	e.rules = reload.Rules{Margin: spec.Margin(), Retry: e.m.cfg.Retry, Again: readAgain + backoff.Random(readAgain), Lifetime: lifetime}
	e.claim.begin(e.fence)
	return nil
}

// first loads the first version. Its error names the secret, where it was looked
// for, and what to do.
func (e *entry) first(ctx context.Context) error {
	if e.claim.shown.Load() == nil {
		return e.configure() // it failed before
	}
	asked, recorded := readClock(), e.claim.recorded()
	got, err := e.read(ctx, store.Selector{Primary: true})
	if err != nil {
		if e.startAbsent(ctx, err) {
			return nil
		}
		spec, _ := (*e.source.Load()).Spec(e.id) // it was there before
		return remedy(e.id, spec, err)
	}
	e.claim.took(got.version.ID, asked, recorded)
	e.start(e.feed(ctx, reload.Event{Kind: reload.Started, Version: got.version.ID, NotAfter: e.end(got)}, got))
	return nil
}

// end returns the end of the life of a version, zero for none.
func (e *entry) end(got loaded) time.Time {
	return secret.Spec{TTL: e.ttl}.NotAfter(secret.Metadata{}, got.version)
}

// read reads one version.
func (e *entry) read(ctx context.Context, sel store.Selector) (loaded, error) {
	return e.readFrom(ctx, *e.source.Load(), sel)
}

// readFrom reads one version. A Source that panics has failed to read.
func (e *entry) readFrom(ctx context.Context, source Source, sel store.Selector) (got loaded, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = e.m.panicked(ctx, "source", p, attrLogID(e.id))
		}
	}()
	v, val, err := source.Read(ctx, e.id, sel)
	return loaded{version: v, value: val}, err
}
