package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// TestAClaimOfYearsIsNotUnderstood: a process that claims more than the longest fence
// blocks by name in every state but ended, and moves the floor no further than that
// fence. A claim of exactly the longest one counts as it is.
func TestAClaimOfYearsIsNotUnderstood(t *testing.T) {
	t.Parallel()
	longest := LongestFence(fence)
	claims := func(d time.Duration) func(*events.User) {
		return func(u *events.User) { u.Use.Fence = int(d / time.Second) }
	}
	year := claims(10 * 366 * 24 * time.Hour)
	q := question()
	for name, tt := range map[string]struct {
		u       events.User
		blocked bool
	}{
		"one that runs the version":            {user(using("v2"), year), true},
		"one that runs another":                {user(using("v1"), year), true},
		"one that fell silent long ago":        {user(using("v1"), year, lastly), true},
		"one that serves on":                   {user(using("v2"), year, serves), true},
		"one that has ended":                   {user(using("v1"), year, endedU), false},
		"one that claims the longest":          {user(using("v2"), claims(longest)), false},
		"one that claims a second more":        {user(using("v2"), claims(longest+time.Second)), true},
		"one that claims less than configured": {user(using("v2"), claims(time.Second)), false},
	} {
		s := q.Ask(fleetOf(user(using("v2"), func(u *events.User) { u.Use.Instance = "0" }), tt.u))
		named := len(s.Blocking) == 1 && s.Blocking[0].Reason == events.BlockNotUnderstood && s.Blocking[0].Until.IsZero() &&
			strings.Contains(s.Blocking[0].Detail, "it claims a fence of")
		if named != tt.blocked || !tt.blocked && len(s.Blocking) > 0 {
			t.Errorf("%s: blocking %+v, want it named: %t", name, s.Blocking, tt.blocked)
		}
		if most := q.Promoted.Add(longest + longest/drift); s.Floor.After(most) {
			t.Errorf("%s: the floor is %s, want at most %s", name, s.Floor, most)
		}
	}
	if end, ok := FenceEnd(user(using("v1"), year), t0, fence); ok {
		t.Errorf("a fence of ten years ends at %s", end)
	}
}

func TestLongestFence(t *testing.T) {
	t.Parallel()
	for f, want := range map[time.Duration]time.Duration{
		time.Minute: 24 * time.Hour, time.Hour: 24 * time.Hour, 2 * time.Hour: 48 * time.Hour,
	} {
		if got := LongestFence(f); got != want {
			t.Errorf("where %s is configured %s is the longest, want %s", f, got, want)
		}
	}
}
