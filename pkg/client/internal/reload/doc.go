// Package reload decides what a service does about the versions of one secret:
// when to read the store, which version to offer to hooks, when to commit it,
// what to report, and when to try again.
//
// It is a pure function over (state, event) that returns the next state and the
// effects to carry out. It reads no clock, calls nothing, and never sees a
// value. The shell around it (pkg/client here, manager.py in Python) carries out
// the effects and feeds the outcome of each back as an event.
//
// One reload at a time is under way, the job:
//
//	            Read ──► Prepare ──► Commit ──► in use
//	             │           │
//	unchanged ◄──┤           ├──► staged: accepted, until promoted or withdrawn
//	    failed ◄─┴───────────┴──► refused
//	       │                         │
//	       └──► try again later ◄────┘
//
// What arrives meanwhile is queued: the newest announcement of a current version,
// the newest of a staged one, and whether to read the current version anyway. When
// the job ends, what it has made obsolete is dropped, and the rest begins the next.
//
// A read may be answered by a replica that lags behind. One that does not return the
// announced version, nor one that was made after the announcement, is repeated with
// growing pauses.
//
// Invariants, which the property test checks: a version comes into use only if the
// last answer of the hooks about it was yes; hooks hold at most one version beside
// that in use; every failure is followed by a Schedule; an event has a handful of
// effects at most.
//
// testdata holds sequences of events with the expected effects. The Go and the
// Python implementation both run them, so that the two clients behave alike.
package reload
