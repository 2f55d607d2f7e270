package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// TestWhoseClaimTheFloorIs: a user that uses the secret and is listed puts a retirement off
// by name. One that has ended, and one of another service, do not.
func TestWhoseClaimTheFloorIs(t *testing.T) {
	t.Parallel()
	claims := func(u *events.User) { u.Use.Fence, u.Use.Instance, u.Presence.Lease = 4*3600, "2", 1200 }
	useEnded := func(u *events.User) { u.Use.Ended = true }
	const named = "api/2 claims a fence of 4h"
	for name, tt := range map[string]struct {
		u     events.User
		moves bool
	}{
		"one that lives":                      {user(using("v2"), claims), true},
		"one that is silent":                  {user(using("v2"), claims, lastly), true},
		"one that has ended":                  {user(using("v2"), claims, endedU), false},
		"one whose use has ended":             {user(using("v2"), claims, useEnded), false},
		"one of a service that is not listed": {user(using("v2"), claims, foreign), false},
	} {
		q, f := question(), fleetOf(using("v2"), tt.u)
		floor, lease := q.Promoted.Add(fence+fence/drift), time.Minute
		if tt.moves {
			floor, lease = q.Promoted.Add(4*time.Hour+4*time.Hour/drift), 20*time.Minute
		}
		s := q.Ask(f)
		if !s.Floor.Equal(floor) || s.Lease != lease || q.Wait(f) != max(q.Spec.GracePeriod(), lease, floor.Sub(q.Promoted)) {
			t.Errorf("%s: the floor is %s, the lease %s, the wait %s; want the floor %s, the lease %s", name, s.Floor, s.Lease, q.Wait(f), floor, lease)
		}
		order := inState(events.RolloutDraining).data(t0, Facts{})
		if v := q.MayRetire(order, order, f); strings.Contains(v.Because, named) != tt.moves || v.Allowed() == tt.moves {
			t.Errorf("%s: %+v", name, v)
		}
		if safe := q.Safe(inState(events.RolloutDraining), f); strings.Contains(safe.Because, named) != tt.moves {
			t.Errorf("%s: safe to revoke because %s", name, safe.Because)
		}
	}
}

// TestAConvergedVersionDrainsOnceTheFloorIsOver: the user that put it off when the version
// converged has ended since.
func TestAConvergedVersionDrainsOnceTheFloorIsOver(t *testing.T) {
	t.Parallel()
	f := Facts{Configured: true, Grace: grace, Deadline: deadline, Floor: t0.Add(24 * time.Hour)}
	r, _ := Advance(t0, inState(events.RolloutRolling), f)
	floor := t0.Add(grace + time.Minute)
	for _, tt := range []struct {
		at   time.Time
		want events.RolloutState
	}{{floor.Add(-1), events.RolloutConverged}, {floor, events.RolloutDraining}} {
		f.Floor = floor
		if next, _ := Advance(tt.at, r, f); next.State != tt.want || tt.want == events.RolloutDraining && !next.RetireAt.Equal(floor) {
			t.Errorf("at %s it is %s, to retire at %s; want %s", tt.at, next.State, next.RetireAt, tt.want)
		}
	}
	f.Floor = t0
	if next, _ := Advance(t0.Add(grace-1), r, f); next.State != events.RolloutConverged {
		t.Errorf("within the grace period it is %s", next.State)
	}
	f.Floor = t0.Add(48 * time.Hour) // the worker waits for that one
	if next, _ := Advance(t0.Add(24*time.Hour), r, f); next.State != events.RolloutDraining {
		t.Errorf("after the time that it was given it is %s", next.State)
	}
}
