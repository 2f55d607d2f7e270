package integration

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// live returns the users of a secret that live.
func live(ctx context.Context, bus *events.Bus, id secret.ID) ([]events.User, error) {
	f, err := bus.Fleet(ctx, id)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(f.Users, func(u events.User) bool { return rollout.StateOf(u, f.At) != rollout.InstanceLive }), nil
}

// onlyLive returns nil if one instance that uses a secret lives, and it is the
// named one.
func onlyLive(ctx context.Context, bus *events.Bus, id secret.ID, instance string) error {
	users, err := live(ctx, bus, id)
	if err == nil && (len(users) != 1 || users[0].Use.Instance != instance) {
		err = fmt.Errorf("want the instance %s alone, and %d live: %+v", instance, len(users), users)
	}
	return err
}

// putUse records that an instance, which lives for a lease in seconds, runs a version
// and serves on past a fence.
func putUse(t testing.TB, bus *events.Bus, service, instance string, id secret.ID, v secret.VersionID, lease int) {
	t.Helper()
	u := events.Use{
		Running: events.Running{SecretID: id, VersionID: v, Status: events.StatusApplied, At: time.Now()},
		Service: service, Instance: instance, Incarnation: instance + "-1", Accepts: []secret.VersionID{}, PastFence: events.PastFenceServe, Joined: true,
	}
	p := events.Presence{Service: service, Instance: instance, Incarnation: u.Incarnation, StartedAt: time.Now(), At: time.Now(), Lease: lease}
	if _, err := bus.Join(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := bus.WriteUse(t.Context(), u); err != nil {
		t.Fatal(err)
	}
}
