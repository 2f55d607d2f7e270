// Package rollout decides how a promoted version reaches the instances that use
// its secret, and when the versions before it may be retired:
//
//	announced ─► rolling ─► converged ─► draining ─► retired
//	              │   ▲         │            │
//	              ▼   │         └────────────┴─► rolling (something blocks again)
//	      waiting, stalled
//
// A [Question] is asked of a fleet: which instances and services a version waits
// for, whether an order to retire may be carried out ([Question.MayRetire]), and
// what an operator is told ([Question.Safe]). [Advance] says what happens next and
// why. All of them are pure functions: they take the time as an argument and do no
// I/O. The notifier and the worker both use them, so that each rule is written
// once. docs/model.md describes the model that drives them through every state of
// small worlds.
//
// Silence is not an end. An instance blocks until it reports the new version and
// accepts no other, has ended, or has passed its fence ([FenceEnd]). A rollout for
// which only fences run is waiting, and never stalls.
//
// A rollout begins with the announcement of a version. [Unannounced] says whether
// the log lacks that of the current version; the scheduler and the worker both
// announce it then.
//
// The package also makes every announcement, every secret.rollout event and every
// order to retire; no other package does. It reads no bus and no store, and it
// retires nothing.
package rollout
