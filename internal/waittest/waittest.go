// Package waittest lets tests wait for a condition that no signal announces.
// Only tests import it.
package waittest

import (
	"testing"
	"time"
)

// patience is long because it matters only to a test that fails: a machine that
// is busy must not make one fail.
const patience = 3 * time.Minute

const interval = 10 * time.Millisecond

// Until polls ok until it returns nil, at most some minutes. Then the test fails
// with what it waited for and the last error, which says how things are instead.
func Until(tb testing.TB, what string, ok func() error) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("waited %s until %s: %v", patience, what, err)
		}
		<-tick.C
	}
}
