package attempt_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/internal/attempt"
)

var (
	errGone = errors.New("not found")
	errDown = errors.New("down")
)

// after returns an attempt that ends after a while, or with its context.
func after(d time.Duration, value string, err error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		select {
		case <-time.After(d):
			return value, err
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

func TestFirst(t *testing.T) {
	t.Parallel()
	const never = time.Hour
	for name, c := range map[string]struct {
		attempts []func(context.Context) (string, error)
		want     string
		err      error
		took     time.Duration
	}{
		"the first answers":               {[]func(context.Context) (string, error){after(0, "a", nil), after(0, "b", nil)}, "a", nil, 0},
		"the first is paused":             {[]func(context.Context) (string, error){after(never, "a", nil), after(time.Millisecond, "b", nil)}, "b", nil, attempt.Pause + time.Millisecond},
		"two are paused":                  {[]func(context.Context) (string, error){after(never, "a", nil), after(never, "b", nil), after(0, "c", nil)}, "c", nil, 2 * attempt.Pause},
		"the first is slow":               {[]func(context.Context) (string, error){after(3*attempt.Pause, "a", nil), after(never, "b", nil)}, "a", nil, 3 * attempt.Pause},
		"the first fails":                 {[]func(context.Context) (string, error){after(0, "", errDown), after(0, "b", nil)}, "b", nil, 0},
		"the first answers with an error": {[]func(context.Context) (string, error){after(0, "", errGone), after(0, "b", nil)}, "", errGone, 0},
		"each fails":                      {[]func(context.Context) (string, error){after(0, "", errDown), after(0, "", context.Canceled)}, "", errDown, 0},
		"nothing answers":                 {[]func(context.Context) (string, error){after(never, "a", nil), after(never, "b", nil)}, "", context.DeadlineExceeded, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				begin := time.Now()
				got, err := attempt.First(ctx, func(err error) bool { return errors.Is(err, errGone) }, c.attempts...)
				if got != c.want || !errors.Is(err, c.err) || time.Since(begin) != c.took {
					t.Errorf("%q, err %v after %s, want %q, err %v after %s", got, err, time.Since(begin), c.want, c.err, c.took)
				}
				synctest.Wait() // for what was given up
			})
		})
	}
}
