//go:build !linux

package client

import "time"

// started is when this process began to count.
var started = time.Now()

// sinceBoot returns how long this process runs by the monotonic clock, which may
// stop while the machine is suspended: the wall clock does not.
func sinceBoot() time.Duration { return time.Since(started) }
