// Package reload decides what a service does about the versions of one secret:
// when to read the store, which version to offer to hooks, when to commit it,
// what to report, and when to try again.
//
// It is a pure function over (state, event) that returns the next state and the
// effects to carry out. It reads no clock, calls nothing, and never sees a
// value. The shell around it (pkg/client here, manager.py in Python) carries out
// the effects and feeds the outcome of each back as an event.
//
// testdata holds sequences of events with the expected effects. The Go and the
// Python implementation both run them, so that the two clients behave alike.
package reload
