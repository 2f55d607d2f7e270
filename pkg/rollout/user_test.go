package rollout

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestForgettable(t *testing.T) {
	t.Parallel()
	useEnded := func(u *events.User) { u.Use.Ended = true }
	afterFence := t0.Add(fence + fence/100 + keepEnded)
	for name, tt := range map[string]struct {
		u  events.User
		at time.Time // of the first moment, zero for never
	}{
		"one that refuses, after its fence":                   {using("v1"), afterFence},
		"one that serves on":                                  {user(using("v1"), serves), time.Time{}},
		"one that is not understood":                          {user(using("v1"), garble), time.Time{}},
		"one that has ended":                                  {user(using("v1"), endedU, serves), t0.Add(keepEnded)},
		"a use that has ended, of a process that is silent":   {user(using(""), useEnded, serves), afterFence},
		"it claimed the longest fence before":                 {user(using(""), useEnded, func(u *events.User) { u.Use.Fence = 1 << 30 }), afterFence},
		"a use that has ended, of one that is not understood": {user(using(""), useEnded, garble), time.Time{}},
	} {
		spec := secret.Spec{ID: "S", Fence: fence}
		if at := tt.at; !at.IsZero() && (Forgettable(tt.u, at.Add(-1), spec) || !Forgettable(tt.u, at, spec)) {
			t.Errorf("%s: it is not forgotten at %s, or earlier", name, at)
		} else if at.IsZero() && Forgettable(tt.u, t0.AddDate(1, 0, 0), spec) {
			t.Errorf("%s: it is forgotten", name)
		}
	}
	lives := user(using(""), useEnded, func(u *events.User) { u.RenewedAt = t0.AddDate(1, 0, 0) })
	if Forgettable(lives, t0.AddDate(1, 0, 0), secret.Spec{ID: "S", Fence: fence}) {
		t.Error("a process that lives is forgotten")
	}
}
