package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// emergencyCap is the longest pause between two tries of an emergency: long enough for
// a store that asks for fewer calls.
const emergencyCap = 30 * time.Second

// Retry arms the next try of a rotation or a retirement that failed. The time to
// it doubles with each attempt, unless the cause carries a time of its own (see
// [events.RetryAfter]). It is the Retry of the worker's [events.ConsumeConfig]
// and needs Timers. A secret has one timer: while it holds a rotation that outranks
// this one Retry fails, so that the message itself comes again.
func (r *Rotator) Retry(ctx context.Context, d events.Delivery, cause error) error {
	if r.cfg.Timers == nil {
		return errors.New("rotation: Retry needs Timers")
	}
	e := d.Event
	e.Source, e.Time = r.cfg.Source, time.Now()
	e.Data.Retry = nextRetry(e.Data.Retry, cause)
	name := string(e.Type)
	delay, ok := events.RetryDelay(cause)
	switch {
	case ok:
	case notMade(cause):
		name += " of " + e.Time.Format(time.RFC3339Nano) // the attempt does not tell them apart
		delay = retryDelay(e.Data.SecretID, 1, store.DefaultOpenFor, store.DefaultOpenFor)
	default:
		most := r.cfg.RetryCap
		if e.Data.Reason == events.ReasonEmergency {
			most = min(most, emergencyCap)
		}
		delay = retryDelay(e.Data.SecretID, e.Data.Attempt, r.cfg.RetryBase, most)
	}
	e.ID = string(secret.NewToken(e.Data.SecretID, e.Data.VersionID, name, e.Data.Attempt))
	from := e.Time
	if errors.Is(cause, errTooSoon) {
		from = d.At // the clock that the delay was counted on
	}
	_, err := r.cfg.Timers.Arm(ctx, e, from.Add(delay))
	return err
}

// nextRetry returns the bookkeeping of the try after one that failed.
func nextRetry(r events.Retry, cause error) events.Retry {
	if !notMade(cause) {
		r.Attempt++
	}
	r.Failure = failure(cause)
	r.QuietSince, r.LastUsed, r.InUse = drainState(cause)
	r = soakState(r, cause)
	if errors.Is(cause, target.ErrRejected) {
		r.Rejections++
	}
	return r
}

// notMade reports whether an open circuit kept the call from being made.
func notMade(cause error) bool { return errors.Is(cause, store.ErrCircuitOpen) }

// retryDelay returns the time to attempt number attempt, less up to a quarter
// that depends on id and attempt, so that secrets that failed together are not
// tried together.
func retryDelay(id secret.ID, attempt int, base, most time.Duration) time.Duration {
	d := backoff.Delay(attempt, base, most)
	return d - time.Duration(secret.Spread(id, fmt.Sprint("attempt ", attempt))*float64(d)/4)
}
