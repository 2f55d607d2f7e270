// Package scheduler says which secrets are due, and keeps a timer armed on the
// bus for each that is not.
//
// [Evaluate] is the decision, a pure function with a reason. [Scheduler] makes
// it for every secret at each sweep: it lists the stores in bulk, arms what is
// missing or has moved, and announces versions that somebody else wrote. The
// timers and the rhythm of the sweep live in the NATS server, so any number of
// schedulers may run, none of them leads, and none has to be there for a timer
// to fire.
//
// The package writes to no store and rotates nothing: what it arms becomes a
// near-expiry event for a worker (pkg/rotation).
package scheduler
