// Package rotation takes one secret from its current version to the next:
//
//	read ─► create (pending, token) ─► apply ─► verify ─► promote ─► announce ─► arm
//
// The steps of a run are data. After each read a pure function decides which
// steps are left (plan.go), and the run takes one after the other against the
// store, the target and the bus. Every step can be repeated and every run
// begins by reading, so any worker can continue a rotation after a crash at any
// point. One [Request] makes one new version (see [secret.NewToken]), which is
// announced once. A run may also be limited to one [Phase].
//
// Where the store rotates a secret itself (see [secret.StrategyExternal]), the
// steps between read and announce are replaced: the rotation is triggered and
// followed by reading.
//
// The package also retires the versions before the current one, first at the
// target and then in the store, once every instance has reported that it runs
// the current one.
//
// It does not decide which secrets are due (pkg/scheduler) and does not notify
// services (pkg/notify). It knows no store and no target by name and keeps no
// state: a later try is a timer on the bus.
package rotation
