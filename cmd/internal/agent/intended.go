//go:build unix

package agent

import (
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/internal/process"
)

// errStale is wrapped by the error for a PID that belongs to another process now.
var errStale = errors.New("it is stale")

// clockSlack is by how much the clocks of processes and files may differ: the start of
// a process is known to a hundredth of a second, the time of a file to a few.
const clockSlack = time.Second

// intended returns an error if the process with a PID began after the number was
// written down. Where the start of a process is not known, and for one that has
// ended, it returns nil: the signal fails.
func intended(pid int, written time.Time) error {
	began, err := process.Started(pid)
	if err != nil || written.IsZero() || !began.After(written.Add(clockSlack)) {
		return nil //nolint:nilerr // see above
	}
	return fmt.Errorf("%w: process %d began %s after that was written, so it is another program; correct the number, or start the program again",
		errStale, pid, began.Sub(written).Round(time.Second))
}
