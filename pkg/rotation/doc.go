// Package rotation takes one secret from its current version to the next:
//
//	read ─► create (pending, token) ─► apply ─► verify ─► promote ─► announce ─► arm
//
// [State] decides, as a pure function, which [Step] comes next; [Rotator] does
// the step against a store and the bus. Every step can be repeated and every
// run begins by reading, so a rotation may be taken up by any worker after a
// crash at any point: one cause gives one new version (see [secret.NewToken]),
// which is announced once. A rotation may also be taken in parts, of which
// somebody else says when: see [Part].
//
// Where the store has somebody else rotate (see [secret.StrategyExternal]), the
// steps between create and promote are that one's: it is triggered and followed
// by reading.
//
// The package also retires the version before, once the instances that use the
// secret have reported the new one: [Rotator.Retire].
//
// It does not decide which secrets are due (pkg/scheduler), does not tell
// services (pkg/notify), knows no store by name and holds no schedule: what has
// to be tried later is armed on the bus.
package rotation
