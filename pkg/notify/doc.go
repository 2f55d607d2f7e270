// Package notify tells services that a secret has a new version and follows
// each version on its way to them.
//
// A [Notifier] takes every announcement from the log and publishes it where each
// subscribed service receives it, at once or when the service starts. It follows
// the reports of the instances, and when all of them run a version it has the bus
// ask a worker, once the grace period is over, to retire the version before.
// Every decision about a rollout is made by pkg/rollout.
//
// All state comes from the bus. Any number of notifiers run side by side; each
// sees the same, and a compare-and-set on the log lets one of them publish a
// move. A notifier that dies leaves nothing to clean up.
//
// What a notifier knows of the fleet is an index of what it has heard, see fleet: it
// says when to look, and never proves anything. The order to retire is a hint, too: a
// worker reads the records behind a barrier before it follows it.
//
// The package has no access to any store and never sees a value. It retires
// nothing itself: pkg/rotation does, after its own check.
package notify
