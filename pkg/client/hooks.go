package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/client/internal/reload"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Hook takes a version into use in one step. When it fails, the version before stays
// in use, in this hook too, and the hook is called again later. It is not called
// concurrently for one secret. Its context carries the span of the reload, which
// continues the trace of the announcement and ends after [Config.HookTimeout]; a hook
// that does not return then has failed, and is called again once it has. It must not wait for [Manager.Refresh] or
// [Manager.Subscribe] of the same secret, which wait for the hook.
//
// A later hook may refuse what this one has taken. This one is then called with the
// version in use again, once the store calls that current. Implement [TwoPhase] to
// take nothing before every hook has accepted it.
type Hook func(ctx context.Context, c Change) error

// TwoPhase is a hook that takes a version into use in two steps. What is said of
// [Hook] about concurrency and waiting holds for each method.
type TwoPhase interface {
	// Prepare may refuse a version, and uses nothing of it yet. It may be called
	// again with the same version. A staged one is not committed: it stays prepared
	// until it comes again without Staged, or is withdrawn.
	Prepare(ctx context.Context, c Change) error
	// Commit takes the version into use that was prepared last. All hooks have
	// accepted it. A Commit that panics, or does not return in time, has failed: the
	// process reports that it still uses the version before, and Prepare and Commit are
	// called again later with the same version.
	//
	// Until every hook has returned, [Handle.Get] returns the version before: take the
	// value from c.
	Commit(ctx context.Context, c Change)
	// Withdraw ends a version that was prepared and will not come into use. It may
	// name one that this hook does not hold.
	Withdraw(v secret.VersionID)
}

// oneStep makes a [TwoPhase] of a [Hook].
type oneStep struct{ hook Hook }

func (o oneStep) Prepare(ctx context.Context, c Change) error { return o.hook(ctx, c) }
func (oneStep) Commit(context.Context, Change)                {}
func (oneStep) Withdraw(secret.VersionID)                     {}

// steps is a [TwoPhase] of functions.
type steps struct {
	prepare  func(context.Context, Change) error
	commit   func(context.Context, Change)
	withdraw func(secret.VersionID)
}

func (s steps) Prepare(ctx context.Context, c Change) error { return s.prepare(ctx, c) }
func (s steps) Commit(ctx context.Context, c Change)        { s.commit(ctx, c) }
func (s steps) Withdraw(v secret.VersionID)                 { s.withdraw(v) }

// subscriber is a hook of an entry.
type subscriber struct {
	TwoPhase

	// holds is the version that the hook took last, staged ones aside. Those of a
	// [oneStep] change with Prepare. It is written with mu of the entry held, by the
	// holder of hooking.
	holds secret.VersionID
	// late is a call that did not return in time, nil for none. It is written like holds.
	late *lateCall
	// offered is the value of the last Prepare, and the one before that differed. The
	// holder of hooking has them.
	offered [2]secret.Value
}

// acceptor authorises something new with versions besides the one in use. Its
// methods do not block and may be called at any time.
type acceptor interface {
	// accepts returns these versions.
	accepts() []secret.VersionID
	// drop ends the acceptance of every version that keep is false for. They are about
	// to be retired, or nothing confirms them any more.
	drop(keep func(secret.VersionID) bool, retired bool)
}

// Subscribe adds a hook and calls it with the version in use before it returns.
// An error of that call is returned and the hook is not added. The returned
// function takes the hook away; a hook must not call it.
//
// It fails for a secret that is checked at use: see [Config.CheckedAtUse].
func (m *Manager) Subscribe(ctx context.Context, id secret.ID, hook Hook) (stop func(), err error) {
	return m.SubscribeTwoPhase(ctx, id, oneStep{hook})
}

// SubscribeTwoPhase is [Manager.Subscribe] for a hook of two steps: it prepares and
// commits the version in use.
func (m *Manager) SubscribeTwoPhase(ctx context.Context, id secret.ID, hook TwoPhase) (stop func(), err error) {
	if e, ok := m.find(id); ok && e.checked {
		return nil, fmt.Errorf("client: subscribe to %s: %w", id, ErrCheckedAtUse)
	}
	return m.subscribe(ctx, id, hook)
}

// subscribe adds a hook, also one that checks at use. While an optional secret is absent
// nothing is offered to it.
func (m *Manager) subscribe(ctx context.Context, id secret.ID, hook TwoPhase) (stop func(), err error) {
	e, ok := m.find(id)
	if !ok {
		return nil, fmt.Errorf("client: %w: %s", ErrUnknown, id)
	}
	if err := e.lockHooks(ctx); err != nil {
		return nil, fmt.Errorf("client: subscribe to %s: %w", id, err)
	}
	defer e.unlockHooks()
	if err := e.checkStays(); err != nil {
		return nil, err
	}
	cur := e.current.Load()
	c := Change{ID: id, Version: cur.Version, Value: cur.Value}
	s := &subscriber{TwoPhase: hook}
	if !e.isAbsent() {
		if err := e.offer(ctx, s, c); err != nil {
			return nil, fmt.Errorf("client: subscribe to %s: %w", id, err)
		}
		if err := e.commit(ctx, s, c); err != nil {
			return nil, fmt.Errorf("client: subscribe to %s: %w", id, err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hooks = append(e.hooks, s)
	return func() { e.unsubscribe(s) }, nil
}

// unsubscribe takes a hook away. It waits for a reload that calls hooks, so that the
// hook is not called after it returns. It does nothing the second time.
func (e *entry) unsubscribe(s *subscriber) {
	if late := e.remove(s); late != nil {
		<-late.done //nolint:errcheck // it has returned, however
	}
}

// remove takes a hook away and returns its call that has not returned.
func (e *entry) remove(s *subscriber) *lateCall {
	_ = e.lockHooks(context.Background()) // which does not end
	defer e.unlockHooks()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hooks = slices.DeleteFunc(slices.Clone(e.hooks), func(h *subscriber) bool { return h == s })
	late := s.late
	s.late = nil
	return late
}

// prepare offers a version to the hooks in the order in which they were added, until
// one refuses. The version in use is offered only to those that took another one, or
// may still take it. The caller holds hooking.
func (e *entry) prepare(ctx context.Context, f reload.Effect, got loaded) error {
	c := Change{ID: e.id, Version: got.version, Value: got.value, Staged: f.Staged, AnnouncedAt: f.Cause.At}
	again := f.Version == e.current.Load().Version.ID
	for _, s := range e.hooks {
		_ = e.settle(s) // its error is that of the offer, too
		if again && s.late == nil && s.holds == f.Version {
			continue
		}
		if err := e.offer(ctx, s, c); err != nil {
			return err
		}
		if !again {
			continue
		}
		if err := e.commit(ctx, s, c); err != nil {
			return err
		}
	}
	return nil
}

// commitAll takes the version into use that every hook has accepted. It returns the
// first error, after the other hooks have taken the version. The caller holds hooking.
func (e *entry) commitAll(ctx context.Context, f reload.Effect, got loaded) (err error) {
	for _, s := range e.hooks {
		failed := e.commit(ctx, s, Change{ID: e.id, Version: got.version, Value: got.value, AnnouncedAt: f.Cause.At})
		if err == nil && failed != nil {
			err = failed
		}
	}
	return err
}

// offer calls Prepare. A hook that panics, or does not return in time, has refused. Its
// error holds neither the value nor one that the hook may have from before: the value in
// use, and the one that it was offered before this.
func (e *entry) offer(ctx context.Context, s *subscriber, c Change) error {
	_, single := s.TwoPhase.(oneStep)
	err := e.call(ctx, s, c.Version.ID, single && !c.Staged, func(ctx context.Context) error { return s.Prepare(ctx, c) })
	if !s.offered[0].Equal(c.Value) {
		s.offered = [2]secret.Value{c.Value, s.offered[0]}
	}
	err = secret.Scrub(err, e.current.Load().Value, s.offered[0], s.offered[1])
	if err != nil {
		e.hookFailed(ctx)
	}
	return err
}

// commit calls Commit. A hook that panics, or does not return in time, holds the version
// before for all anyone knows.
func (e *entry) commit(ctx context.Context, s *subscriber, c Change) error {
	if _, ok := s.TwoPhase.(oneStep); !ok {
		if err := e.instruct(ctx, s, c.Version.ID, func(ctx context.Context) { s.Commit(ctx, c) }); err != nil {
			return fmt.Errorf("commit version %s: %w", c.Version.ID, err)
		}
	}
	e.took(s, c.Version.ID)
	return nil
}

// instruct calls a method of a hook that may not refuse.
func (e *entry) instruct(ctx context.Context, s *subscriber, v secret.VersionID, do func(context.Context)) error {
	err := e.call(ctx, s, v, false, func(ctx context.Context) error { do(ctx); return nil })
	if err != nil {
		e.hookFailed(ctx)
	}
	if errors.Is(err, errHookTimeout) {
		e.m.log.LogAttrs(ctx, slog.LevelError, "secret.hook.timeout", attrLogID(e.id), slog.String("error", err.Error()))
	}
	return err
}

// hookFailed counts a call of a hook that refused a version, panicked or did not
// return in time.
func (e *entry) hookFailed(ctx context.Context) {
	e.m.meters.hooks.Add(ctx, 1, metric.WithAttributes(attrID(e.id)))
}

// took notes which version a hook uses.
func (e *entry) took(s *subscriber, v secret.VersionID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.holds = v
}

// withdraw tells the hooks which versions were given up since the last call. The
// caller holds hooking.
func (e *entry) withdraw(ctx context.Context) {
	e.mu.Lock()
	gone := e.withdrawn
	e.withdrawn = nil
	e.mu.Unlock()
	for _, v := range gone {
		for _, s := range e.hooks {
			e.forget(ctx, s, v)
		}
	}
}

func (e *entry) forget(ctx context.Context, s *subscriber, v secret.VersionID) {
	_ = e.instruct(ctx, s, v, func(context.Context) { s.Withdraw(v) }) // logged; what the hook accepts, it says itself
}
