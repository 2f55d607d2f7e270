package client

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot returns the time since the boot, suspended or not. The monotonic clock
// of package time stops while the machine is suspended.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0 // the wall clock decides alone
	}
	return time.Duration(t.Nano())
}
