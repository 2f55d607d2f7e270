// Package rollout decides how a promoted version reaches the instances that use
// its secret, and when the version before it may be retired:
//
//	announced ─► rolling ─► converged ─► retired
//	                │  ▲        │
//	                ▼  │        └─► rolling (an instance runs another version)
//	             stalled
//
// [Blocking] says which instances and services a rollout waits for, [Advance]
// what happens next and why, and [MayRetire] whether an order to retire still
// holds. All of them are pure functions: they take the time as an argument and
// do no I/O. The notifier and the worker both use them, so that each rule is
// written once.
//
// A rollout begins with the announcement of a version. [Unannounced] says whether
// the log lacks that of the current version; the scheduler and the worker both
// announce it then.
//
// The package also makes every announcement, every secret.rollout event and every
// order to retire; no other package does. It reads no bus and no store, and it
// retires nothing.
package rollout
