// Package waittest lets tests wait for a condition that no signal announces.
// Only tests import it.
package waittest

import (
	"testing"
	"time"
)

const (
	// patience is how long nothing may change. It is long because it matters only
	// to a test that fails: a busy machine must not make one fail.
	patience = 3 * time.Minute
	// limit is how long a wait takes at most, below the timeout of a test run, so
	// that the last error is printed.
	limit = 9 * time.Minute
	// Between two polls a tenth of the wait so far passes, within these bounds: a
	// long wait leaves the processor to what it waits for.
	minInterval, maxInterval = 10 * time.Millisecond, 100 * time.Millisecond
)

// Until polls ok until it returns nil. The test fails with what it waited for and
// the last error once the error has been the same for some minutes: while it
// changes, such as a count, the work goes on.
func Until(tb testing.TB, what string, ok func() error) {
	tb.Helper()
	begin, changed, last := time.Now(), time.Now(), ""
	for {
		err := ok()
		if err == nil {
			return
		}
		if err.Error() != last {
			changed, last = time.Now(), err.Error()
		}
		if time.Since(changed) > patience || time.Since(begin) > limit {
			tb.Fatalf("waited %s until %s: %v", time.Since(begin).Round(time.Second), what, err)
		}
		<-time.After(min(max(time.Since(begin)/10, minInterval), maxInterval))
	}
}
