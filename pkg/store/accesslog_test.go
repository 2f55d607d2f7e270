package store_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// TestReadsAreLoggedOnceInAWhile: one line per secret in ten seconds, and the counts of all
// lines are the reads.
func TestReadsAreLoggedOnceInAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log waittest.Buffer
		st, err := store.New("mem", storetest.NewMem(nil), &store.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		read := func(path string, n int) {
			for range n {
				_, _, _ = st.Get(t.Context(), path, store.Selector{}) // there is none, which is a read too
			}
		}
		wants := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for line := range strings.Lines(log.String()) {
				if _, rest, found := strings.Cut(strings.TrimSpace(line), "level=INFO msg=secret.access store=mem operation=get secret="); found {
					got = append(got, rest)
				}
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s:\n%s\nwant\n%s", when, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
		lines := []string{"a outcome=not_found count=1", "b outcome=not_found count=1"}
		read("a", 100)
		read("b", 1)
		wants("at once", lines...)
		time.Sleep(10 * time.Second)
		lines = append(lines, "a outcome=not_found count=99")
		wants("after ten seconds", lines...)
		read("a", 3)
		wants("soon after", lines...)
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		wants("in the end", append(lines, "a outcome=not_found count=3")...)
	})
}
