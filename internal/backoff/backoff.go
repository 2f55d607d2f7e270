// Package backoff computes and waits out the time between two attempts.
//
// It keeps no state and decides nothing about whether to try again.
package backoff

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"
)

// Delay returns the time to wait after an attempt, counted from 1: base, doubled
// with each further attempt, and at most most. Attempts below 1 count as 1.
func Delay(attempt int, base, most time.Duration) time.Duration {
	d := min(base, most)
	for ; attempt > 1 && d < most; attempt-- {
		if d > most/2 {
			return most
		}
		d *= 2
	}
	return d
}

// Random returns a duration in [0, d), and 0 for d <= 0. It spreads processes
// that would otherwise act at the same time.
func Random(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	var b [8]byte
	_, _ = rand.Read(b[:]) // it does not fail
	return time.Duration(binary.NativeEndian.Uint64(b[:]) % uint64(d))
}

// Pause waits for d and returns true, or returns false as soon as ctx ends.
func Pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
