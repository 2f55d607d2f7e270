package integration

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestARestoredNodeKnowsNoUsers restores a backup of a time when one instance used a
// secret. Another one has come since. With the records of the backup the first would be the
// only user, and the version that the other still uses would be retired as soon as the first
// has moved.
func TestARestoredNodeKnowsNoUsers(t *testing.T) {
	t.Parallel()
	const id = secret.ID("DB")
	cfg, health := singleNode(t, "  - {id: DB, ttl: 1h, grace: none, fence: 1s, create: true, services: [api]}\n")
	file := cfg + ".backup"
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	first := statusOf(t, cfg, "the secret is made", func(s consumerView) bool { return s.Version != "" }).Version
	bus := admit(t, cfg).bus
	putUse(t, bus, "api", "one", id, secret.VersionID(first), 1)
	value := expect(t, 0, "", "get", "DB", "--version", first, "--reason", "a test", "--config", cfg)
	expect(t, 0, "to be kept elsewhere", "backup", file, "--config", cfg)
	putUse(t, bus, "api", "two", id, secret.VersionID(first), 1)
	if code := node.drain(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}

	moveData(t, filepath.Join(filepath.Dir(cfg), "data"))
	expect(t, 0, "start the node", "restore", file, "--config", cfg)
	start(t, "run", "--config", cfg)
	ready(t, health)
	bus = admit(t, cfg).bus
	if fleet, err := bus.Fleet(t.Context(), id); err != nil || len(fleet.Users) > 0 {
		t.Errorf("the restored node counts users of before: %+v, %v", fleet.Users, err)
	}
	expect(t, 0, first+" → ", "rotate", "DB", "--config", cfg)
	second := statusOf(t, cfg, "the version is replaced", func(s consumerView) bool { return s.Version != "" && s.Version != first }).Version
	// The first instance runs the new version and renews; the second says nothing.
	defer renewing(t, bus, "api", "one", id, secret.VersionID(second))()
	s := statusOf(t, cfg, "the rollout waits for a person", func(s consumerView) bool { return strings.Contains(s.Safe.Because, "confirm-fleet") })
	if s.Safe.Answer != "unknown" || s.Rollout == string(events.RolloutRetired) {
		t.Errorf("status says %+v", s)
	}
	if expect(t, 0, "", "get", "DB", "--version", first, "--reason", "a test", "--config", cfg) != value {
		t.Error("the value that the second instance uses is gone")
	}
	// Nothing else has held it back.
	expect(t, 0, "", "confirm-fleet", "--reason", "the second is restarted", "--config", cfg)
	statusOf(t, cfg, "the first version is retired", func(s consumerView) bool { return s.Rollout == string(events.RolloutRetired) })
}

// renewing keeps an instance that runs a version alive until the function is called.
func renewing(t *testing.T, bus *events.Bus, service, instance string, id secret.ID, v secret.VersionID) (stop func()) {
	t.Helper()
	end, ended, started := make(chan struct{}), make(chan struct{}), time.Now()
	putUse(t, bus, service, instance, id, v, 4)
	go func() {
		defer close(ended)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p := events.Presence{Service: service, Instance: instance, Incarnation: instance + "-1", StartedAt: started, At: time.Now(), Lease: 4}
				if _, err := bus.Join(context.WithoutCancel(t.Context()), p); err != nil {
					t.Errorf("renew the presence: %v", err)
				}
			case <-end:
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}
