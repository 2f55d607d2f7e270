package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// DefaultHookTimeout is [Config.HookTimeout] unless a service says otherwise.
const DefaultHookTimeout = time.Minute

// hookGrace is how long a hook may take to return after its context has ended.
const hookGrace = time.Second

// errHookTimeout marks the error of a hook that did not return in time.
var errHookTimeout = errors.New("the hook did not return in time")

// lateCall is a call of a hook that did not return in time.
type lateCall struct {
	version secret.VersionID
	takes   bool // the hook holds the version if the call succeeds
	done    chan error
}

// call calls a hook in a goroutine of its own and waits for it no longer than
// [Config.HookTimeout]. A hook that has not returned is not called again before it has:
// it holds up its own secret, and no other. The caller holds hooking.
func (e *entry) call(ctx context.Context, s *subscriber, v secret.VersionID, takes bool, do func(context.Context) error) error {
	if err := e.settle(s); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, e.m.cfg.HookTimeout)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		err := errors.New("the hook ended its goroutine")
		defer func() { done <- err }()
		err = e.guarded(ctx, do)
	}()
	t := time.NewTimer(e.m.cfg.HookTimeout + hookGrace)
	defer t.Stop()
	select {
	case err := <-done:
		if err == nil && takes {
			e.took(s, v)
		}
		return err
	case <-t.C:
		e.lateIs(s, &lateCall{version: v, takes: takes, done: done})
		return fmt.Errorf("%w: it was called for version %s %s ago", errHookTimeout, v, e.m.cfg.HookTimeout+hookGrace)
	}
}

// settle takes note of a call that returned too late, and returns an error while it has
// not returned.
func (e *entry) settle(s *subscriber) error {
	if s.late == nil {
		return nil
	}
	select {
	case err := <-s.late.done:
		if err == nil && s.late.takes {
			e.took(s, s.late.version)
		}
		e.lateIs(s, nil)
		return nil
	default:
		return fmt.Errorf("%w: it was called for version %s and still runs", errHookTimeout, s.late.version)
	}
}

// lateIs notes the call that a hook has not returned from.
func (e *entry) lateIs(s *subscriber, late *lateCall) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.late = late
}

// guarded calls do, and makes an error of a panic.
func (e *entry) guarded(ctx context.Context, do func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = e.m.panicked(ctx, "hook", p, attrLogID(e.id))
		}
	}()
	return do(ctx)
}
