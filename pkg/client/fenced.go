package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrFence is wrapped by every [FenceError].
var ErrFence = errors.New("the version in use is not confirmed")

// FenceError says that a version may not be used any more, because neither the bus
// nor the primary of the store has confirmed it for as long as the fence of the
// secret. It may have been retired meanwhile.
type FenceError struct {
	ID        secret.ID
	VersionID secret.VersionID
	// Since is when the version was confirmed last, zero for never.
	Since time.Time
	// Fence is how long it may be used from then on.
	Fence time.Duration
	// Err is why the store could not confirm it now.
	Err error
}

// Error names the secret, the time and the remedy. It holds no value.
func (e *FenceError) Error() string {
	since := "never"
	if !e.Since.IsZero() {
		since = "last at " + e.Since.UTC().Format(time.RFC3339)
	}
	why := ""
	if e.Err != nil {
		why = ": " + e.Err.Error()
	}
	return fmt.Sprintf("client: %s: %v: version %s was confirmed %s, its fence is %s; let this process reach the store or the bus%s",
		e.ID, ErrFence, e.VersionID, since, e.Fence, why)
}

// Unwrap returns [ErrFence] and the error of the store.
func (e *FenceError) Unwrap() []error { return []error{ErrFence, e.Err} }

const (
	// fenceRead bounds the read of the store that a use past the fence waits for.
	fenceRead = 5 * time.Second
	// fenceSay is the least time between two log lines about a fence.
	fenceSay = time.Minute
)

// check returns nil if the version in use may be used. Past the fence it reads the
// primary of the store once, and returns a [FenceError] unless that confirms the
// version or brings another one, and an [AbsentError] without a version.
func (e *entry) check(ctx context.Context) error {
	if e.isAbsent() {
		return e.absent()
	}
	if e.claim.usable() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, fenceRead)
	defer cancel()
	err := e.refresh(ctx)
	if e.claim.usable() {
		return nil
	}
	return e.fenced(ctx, err)
}

// fenced counts a use that is refused and returns its error.
func (e *entry) fenced(ctx context.Context, err error) error {
	if s := e.status.Load(); err == nil && s.Reason != "" {
		err = errors.New(s.Reason)
	}
	out := &FenceError{ID: e.id, VersionID: e.current.Load().Version.ID, Since: e.claim.since(), Fence: e.fence, Err: err}
	e.m.meters.fenced.Add(ctx, 1, metric.WithAttributes(attrID(e.id)))
	now := time.Now().UnixNano()
	if last := e.fencedAt.Load(); now-last >= int64(fenceSay) && e.fencedAt.CompareAndSwap(last, now) {
		e.logger().LogAttrs(ctx, slog.LevelError, "secret.fenced", slog.String("error", out.Error()))
	}
	return out
}
