// Package scheduler says which secrets are due, and keeps a timer armed on the
// bus for each that is not.
//
// [Evaluate] is the decision, a pure function with a reason. A reconciler takes one
// secret: it loads what the decision depends on, announces a version that another
// program wrote, and arms what is missing or has moved. [Scheduler.Sweep] lists
// the stores in bulk, remembers what it saw, and hands the reconciler what has
// changed; [Scheduler.Reconcile] hands it one secret. The timers and the rhythm of
// the sweep live in the NATS server, so any number of schedulers may run, none of
// them leads, and a timer fires whether one runs or not.
//
// The package writes to no store and rotates nothing: what it arms becomes a
// near-expiry event for a worker (pkg/rotation).
package scheduler
