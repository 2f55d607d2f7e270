package vault

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"
)

// TestRefusedLoginsDoNotLockTheRole: the server locks a role at the fifth refusal of
// which no two are 15 minutes apart.
func TestRefusedLoginsDoNotLockTheRole(t *testing.T) {
	t.Parallel()
	var r refusedLogin
	now := time.Unix(0, 0)
	last, counted := now, 0
	for range 20 {
		if now.Sub(last) > 15*time.Minute {
			counted = 0
		}
		if counted++; counted >= 5 {
			t.Fatalf("the role is locked after %s", now.Sub(time.Unix(0, 0)))
		}
		last = now
		r.note(now, fmt.Errorf("refused: %w", &api.ResponseError{StatusCode: http.StatusBadRequest}))
		now = r.next(false)
	}
	if wait := r.next(true).Sub(last); wait != time.Minute {
		t.Errorf("another credential waits %s, want a minute", wait)
	}
}

// TestOtherRefusalsAreShort: what is not said of the credential locks nothing.
func TestOtherRefusalsAreShort(t *testing.T) {
	t.Parallel()
	var r refusedLogin
	now := time.Unix(0, 0)
	for range 20 {
		r.note(now, errors.Join(&api.ResponseError{StatusCode: http.StatusForbidden}))
		wait := r.next(false).Sub(now)
		if wait < time.Second || wait > 30*time.Second {
			t.Fatalf("it waits %s, want between a second and 30", wait)
		}
		if r.next(true).After(now) {
			t.Fatal("another credential waits")
		}
		now = now.Add(wait)
	}
}
