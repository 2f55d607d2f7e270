package hook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/hook"
)

// TestUnreadVersion: a hook is asked about a version whose value is gone, and not about
// one that could not be read: its value may be the current one.
func TestUnreadVersion(t *testing.T) {
	t.Parallel()
	var asked []hook.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q hook.Request
		_ = json.NewDecoder(r.Body).Decode(&q)
		asked = append(asked, q)
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(s.Close)
	down := errors.New("the store does not answer")
	for _, failure := range []error{down, fmt.Errorf("%w: it was retired", target.ErrGone)} {
		tg := mustNew(t, hook.Config{
			URL: s.URL, Capabilities: target.Capabilities{InUse: target.InUseSessions},
			Read: func(_ context.Context, v secret.VersionID) (secret.Value, error) {
				if v == "v1" {
					return secret.Value{}, failure
				}
				return secret.NewValue([]byte("Value-Of-Both-Versions")), nil
			},
		})
		ref := target.Ref{Secret: "KEY", Version: "v1"}
		for verb, call := range map[string]func() error{
			"revoke":  func() error { return tg.Revoke(t.Context(), ref, target.Drain{}) },
			"in_use":  func() error { _, err := tg.InUse(t.Context(), ref); return err },
			"suspend": func() error { return tg.Suspend(t.Context(), ref) },
			"resume":  func() error { return tg.Resume(t.Context(), ref) },
		} {
			asked = nil
			err := call()
			if unread := errors.Is(failure, down); unread != errors.Is(err, down) || unread != (err != nil) || unread != (len(asked) == 0) {
				t.Errorf("%s while a read fails with %q: %v; it was asked %+v", verb, failure, err, asked)
			}
		}
	}
}
