package notify

import (
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func benchUse(instance, n int, reason string) events.FleetEvent {
	return events.FleetEvent{At: time.Now(), Use: &events.Use{
		Running: events.Running{SecretID: secret.ID(fmt.Sprintf("SECRET_%03d", n)), VersionID: "v1-0123-4567-89ab-cdef-0123456789ab", Status: events.StatusApplied, Reason: reason},
		Service: "api", Instance: fmt.Sprintf("api-%05d", instance), Incarnation: fmt.Sprintf("0123456789%05d", instance), Accepts: []secret.VersionID{}, PastFence: events.PastFenceRefuse, Fence: 3600,
	}}
}

func benchPresence(instance int) events.FleetEvent {
	return events.FleetEvent{At: time.Now(), Presence: &events.Presence{
		Service: "api", Instance: fmt.Sprintf("api-%05d", instance), Incarnation: fmt.Sprintf("0123456789%05d", instance), Lease: 3600,
	}}
}
