package backoff_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/internal/backoff"
)

func TestDelayDoublesUpToItsLimit(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]time.Duration{
		-1: time.Second, 0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 4: 5 * time.Second, math.MaxInt: 5 * time.Second,
	} {
		if got := backoff.Delay(attempt, time.Second, 5*time.Second); got != want {
			t.Errorf("attempt %d: got %s, want %s", attempt, got, want)
		}
	}
	if got := backoff.Delay(3, math.MaxInt64/2+1, math.MaxInt64); got <= 0 {
		t.Errorf("a long base overflows to %s", got)
	}
	if got := backoff.Delay(9, time.Minute, time.Second); got != time.Second {
		t.Errorf("a base above the limit: got %s", got)
	}
}

func TestRandomStaysBelowItsLimit(t *testing.T) {
	t.Parallel()
	seen := map[time.Duration]bool{}
	for range 200 {
		d := backoff.Random(4)
		if d < 0 || d >= 4 {
			t.Fatalf("got %d", d)
		}
		seen[d] = true
	}
	if len(seen) != 4 {
		t.Errorf("200 draws gave %d of 4 values", len(seen))
	}
	if backoff.Random(0) != 0 || backoff.Random(-1) != 0 {
		t.Error("no room gives a duration")
	}
}

func TestPauseEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if !backoff.Pause(t.Context(), time.Hour) || time.Since(begin) != time.Hour {
			t.Errorf("paused for %s", time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin = time.Now()
		if backoff.Pause(ctx, time.Hour) || time.Since(begin) != time.Minute {
			t.Errorf("a context that ended was outlived by %s", time.Since(begin)-time.Minute)
		}
		if backoff.Pause(ctx, 0) {
			t.Error("a context that has ended does not count")
		}
	})
}
