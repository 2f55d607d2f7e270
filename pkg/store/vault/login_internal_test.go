package vault

import (
	"errors"
	"testing"
	"time"
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
		r.note(now, errors.New("refused"))
		now = r.next(false)
	}
	if wait := r.next(true).Sub(last); wait != time.Minute {
		t.Errorf("another credential waits %s, want a minute", wait)
	}
}
