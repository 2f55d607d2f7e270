package events

import (
	"fmt"
	"strings"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Names gives every subject, stream and durable consumer its name. It is the
// only place that does. The zero value uses no prefix; [NewNames] sets one so
// that several environments can share a cluster.
type Names struct{ prefix string }

// NewNames returns names under a prefix of one to four subject tokens of
// letters, digits, '_' and '-', such as prod or tradepulse.prod. "" is no
// prefix.
func NewNames(prefix string) (Names, error) {
	if prefix == "" {
		return Names{}, nil
	}
	tokens := strings.Split(prefix, ".")
	if len(tokens) > 4 || len(prefix) > 64 {
		return Names{}, fmt.Errorf("prefix %q: at most 4 tokens and 64 characters", prefix)
	}
	for _, t := range tokens {
		if err := ValidToken(t); err != nil {
			return Names{}, fmt.Errorf("prefix %q: %w", prefix, err)
		}
	}
	return Names{prefix: prefix + "."}, nil
}

// ValidToken returns an error unless s can be one token of a subject here: 1 to
// 64 letters, digits, '_' and '-'. Names of services and instances are tokens.
func ValidToken(s string) error { return secret.ValidName(s) }

func (n Names) stream(s string) string {
	return strings.ToUpper(strings.ReplaceAll(n.prefix, ".", "_")) + s
}

// RotationStream is the work queue: timers, due secrets, retirements, sweeps.
func (n Names) RotationStream() string { return n.stream("ROTATION") }

// RotatedStream is the log of what happened.
func (n Names) RotatedStream() string { return n.stream("ROTATED") }

// NotifyStream keeps the last notification per service and secret.
func (n Names) NotifyStream() string { return n.stream("NOTIFY") }

// UsesStream keeps the last presence and the last uses of every incarnation.
func (n Names) UsesStream() string { return n.stream("USES") }

// RecordStream keeps what people and programs vouched for, for ever.
func (n Names) RecordStream() string { return n.stream("RECORD") }

// ReportsStream keeps the report of every live instance with an older client.
func (n Names) ReportsStream() string { return n.stream("REPORTS") }

// Event returns the subject on which an event of type t about a secret is
// published.
func (n Names) Event(t Type, k secret.Key) string {
	if t == TypeSweep {
		return n.prefix + string(TypeSweep)
	}
	return n.prefix + string(t) + "." + string(k)
}

// emergencyLane is the token that sets the work of emergencies apart. A subject in
// the lane has one token more than any other, so that no secret's key collides with it.
const emergencyLane = "emergency"

// Work returns the subject on which a worker is handed e. Emergencies have a lane of
// their own, so that none waits behind other work.
func (n Names) Work(e Event) string {
	if e.Data.Reason == ReasonEmergency && (e.Type == TypeNearExpiry || e.Type == TypeRetire) {
		return n.prefix + string(e.Type) + "." + emergencyLane + "." + string(e.Data.SecretID.Key())
	}
	return n.Event(e.Type, e.Data.SecretID.Key())
}

// fits reports whether an event may be received on a subject: its own, a timer
// that holds it, or a notification of it.
func (n Names) fits(subject string, e Event) bool {
	k := e.Data.SecretID.Key()
	switch subject {
	case n.Event(e.Type, k), n.Work(e):
		return true
	case n.Timer(k):
		return e.Type == TypeNearExpiry
	case n.RetireTimer(k):
		return e.Type == TypeRetire
	case n.SweepTimer():
		return e.Type == TypeSweep
	}
	service, notify := n.notified(subject)
	return notify && e.notifies() && (subject == n.Notify(service, k) || subject == n.Live(service, k))
}

// notifies reports whether services are notified of an event: of a version that
// is staged, of one that became current, and of the order to drop all others.
func (e Event) notifies() bool {
	switch e.Type {
	case TypeRotated, TypeStaged:
		return true
	case TypeRollout:
		return e.Data.Rollout != nil && e.Data.Rollout.State == RolloutDraining
	default:
		return false
	}
}

// Timer is the subject that holds the schedule of a secret's next rotation.
func (n Names) Timer(k secret.Key) string { return n.prefix + "timer." + string(k) }

// RetireTimer is the subject that holds the schedule of a retirement. It has one
// token more than Timer, so that no secret's key collides with it.
func (n Names) RetireTimer(k secret.Key) string { return n.prefix + "timer.retire." + string(k) }

// SweepTimer is the subject that holds the schedule of the sweep.
func (n Names) SweepTimer() string { return n.prefix + "sweep.timer" }

// Notify is the subject of the last notification to a service about a secret.
func (n Names) Notify(service string, k secret.Key) string {
	return n.prefix + "notify." + service + "." + string(k)
}

// Live is where a running instance of a service hears notifications: the
// NOTIFY stream republishes there what it stores under Notify.
func (n Names) Live(service string, k secret.Key) string {
	return n.prefix + "live." + service + "." + string(k)
}

// Presence is the subject of an incarnation's [Presence].
func (n Names) Presence(service, instance, incarnation string) string {
	return n.prefix + "report." + service + "." + instance + "." + incarnation
}

// Use is the subject of the [Use] of a secret by an incarnation.
func (n Names) Use(k secret.Key, service, incarnation string) string {
	return n.prefix + "uses." + string(k) + "." + service + "." + incarnation
}

// barrier is the subject of the barrier of the stream of uses. All programs share
// it, so that it takes one record for ever and a full stream still accepts it.
func (n Names) barrier() string { return n.Use(barrierService, barrierService, "last") }

// Confirmation is the subject of the [Confirmation] of the stream of uses.
func (n Names) Confirmation() string { return n.prefix + "record.uses" }

// Retired is the subject of the receipts of retirements of a secret.
func (n Names) Retired(k secret.Key) string { return n.prefix + "record.retired." + string(k) }

// Paused is the subject of the last [Pause] of a secret.
func (n Names) Paused(k secret.Key) string { return n.prefix + "record.paused." + string(k) }

// Acts is the subject of what people did to a secret, see [Act].
func (n Names) Acts(k secret.Key) string { return n.prefix + "record.acts." + string(k) }

// BusActs is the subject of what people did to the bus. It has one token more than
// Acts, so that no secret's key collides with it.
func (n Names) BusActs() string { return n.prefix + "record.acts.bus.all" }

// Forgotten is the subject of what was [Forgotten] of an instance.
func (n Names) Forgotten(service, instance string) string {
	return n.prefix + "record.forgotten." + service + "." + instance
}

// Confirmed is the subject of the last [Confirmed] of a consumer of a secret.
func (n Names) Confirmed(k secret.Key, consumer string) string {
	return n.prefix + "record.confirmed." + string(k) + "." + consumer
}

// Report is the subject of the report of an instance with an older client.
func (n Names) Report(service, instance string) string {
	return n.prefix + "report." + service + "." + instance
}

// Program is the subject on which programs are asked about themselves. It is in no
// stream.
func (n Names) Program(verb string) string { return n.prefix + "program." + verb }

// The durable consumers.
const (
	// WorkerConsumer hands due secrets and retirements to one worker each.
	WorkerConsumer = "rotator"
	// EmergencyConsumer hands the same of emergencies to one worker each.
	EmergencyConsumer = "emergency"
	// SchedulerConsumer hands each sweep to one scheduler.
	SchedulerConsumer = "scheduler"
	// NotifierConsumer hands each announcement to one notifier.
	NotifierConsumer = "notifier"
	// EventBridgeConsumer hands each announcement to one process that forwards
	// it to EventBridge.
	EventBridgeConsumer = "eventbridge"
)
