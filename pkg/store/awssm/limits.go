package awssm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/smithy-go/middleware"
	"golang.org/x/time/rate"

	"github.com/tradepulse/rotator/pkg/store"
)

// Limits holds the rate limits of several drivers, by the account and region
// whose quota they use up. It is safe for concurrent use.
type Limits struct {
	mu      sync.Mutex
	budgets map[string]*budget
}

// NewLimits returns empty Limits.
func NewLimits() *Limits { return &Limits{budgets: map[string]*budget{}} }

// budget is what may be used of one quota.
type budget struct{ writes, reads, lists *rate.Limiter }

// share returns the budget for the quota that cfg names. Where two drivers
// disagree about it, the lower limit holds.
func (l *Limits) share(cfg Config) *budget {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := newBudget(cfg)
	b, ok := l.budgets[cfg.quota()]
	if !ok {
		l.budgets[cfg.quota()] = mine
		return mine
	}
	lower(b.writes, mine.writes)
	lower(b.reads, mine.reads)
	lower(b.lists, mine.lists)
	return b
}

func lower(to, from *rate.Limiter) {
	if from.Limit() < to.Limit() {
		to.SetLimit(from.Limit())
		to.SetBurst(from.Burst())
	}
}

func newBudget(cfg Config) *budget {
	return &budget{
		writes: limiter(cfg.WritesPerSecond, DefaultWritesPerSecond),
		reads:  limiter(cfg.ReadsPerSecond, DefaultReadsPerSecond),
		lists:  limiter(cfg.ListsPerSecond, DefaultListsPerSecond),
	}
}

// limiter lets an eighth of a second's calls go at once: a bucket filled to the
// brim and a second of refilling together stay under the quota that the
// default rates are set by.
func limiter(perSecond, def float64) *rate.Limiter {
	if perSecond == 0 {
		perSecond = def
	}
	if perSecond < 0 {
		return rate.NewLimiter(rate.Inf, 1)
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/8)))
}

// limit returns the option that makes each attempt of one call wait for its
// turn. It stands behind the retries, because a repeated attempt uses up the
// quota like a first one, and before signing, because a signature ages.
func limit(l *rate.Limiter) func(*sm.Options) {
	wait := middleware.FinalizeMiddlewareFunc("RotatorRateLimit", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		if err := l.Wait(ctx); err != nil {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, ownLimit(ctx, err)
		}
		return next.HandleFinalize(ctx, in)
	})
	return func(o *sm.Options) {
		o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error { return s.Finalize.Insert(wait, "Retry", middleware.After) })
	}
}

// errOwnLimit is what a call fails with that the driver did not let through in
// time.
var errOwnLimit = errors.New("the driver's own rate limit leaves no room before the deadline")

func ownLimit(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w: %w", store.ErrThrottled, errOwnLimit, err)
}
