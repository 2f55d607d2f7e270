// Package notify tells services that a secret has a new version and follows
// each version on its way to them:
//
//	announced ─► rolling ─► converged ─► retired
//	                │  ▲        │
//	                ▼  │        └─► rolling (an instance runs another version)
//	             stalled
//
// A [Notifier] takes every announcement from the log and puts it where each
// subscribed service hears it, at once or when it starts. It listens to the
// reports of the instances, and when all of them run a version it has the bus
// ask a worker, once the grace period is over, to retire the version before.
// [Advance] decides each move as a pure function and gives its reason.
//
// All state comes from the bus: any number of notifiers run side by side, each
// sees the same, and a compare-and-set on the log lets one of them publish a
// move. A notifier that dies leaves nothing to clean up.
//
// The package has no access to any store and never sees a value. It retires
// nothing itself (pkg/rotation does, after looking again), does not decide what
// counts as blocking (that is [events.Blocking]), and never takes silence for
// consent: a service that nobody speaks for keeps the previous version alive.
package notify
