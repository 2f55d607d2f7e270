package waittest

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a test that notes how it failed and ends its goroutine as a test
// does.
type failing struct {
	testing.TB
	text string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	panic(f)
}

func TestUntilTheConditionHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		Until(t, "three calls were made", func() error {
			if calls++; calls < 3 {
				return errors.New("too few")
			}
			return nil
		})
		if calls != 3 {
			t.Errorf("%d calls, want 3", calls)
		}
	})
}

func TestUntilNamesTheConditionAndTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, f := time.Now(), &failing{TB: t}
		defer func() {
			if got := recover(); got != f {
				t.Fatalf("it ended with %v, want a failure", got)
			}
			if want := "waited 3m0s until the queue is empty: 2 messages wait"; f.text != want {
				t.Errorf("got %q, want %q", f.text, want)
			}
			if took := time.Since(begin); took < patience {
				t.Errorf("gave up after %s, want %s", took, patience)
			}
		}()
		Until(f, "the queue is empty", func() error { return errors.New("2 messages wait") })
	})
}

// TestUntilGoesOnWhileSomethingChanges: slow work is not work that hangs, but it
// has to end.
func TestUntilGoesOnWhileSomethingChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 8
		Until(t, "all minutes have passed", func() error {
			if left--; left == 0 {
				return nil
			}
			time.Sleep(time.Minute)
			return fmt.Errorf("%d minutes are left", left)
		})
		f := &failing{TB: t}
		defer func() {
			if got := recover(); got != f {
				t.Fatalf("it ended with %v, want a failure", got)
			}
		}()
		Until(f, "the end of time", func() error { return errors.New(time.Now().String()) })
	})
}
