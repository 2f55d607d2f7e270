// Package dev is the whole of rotator in one process, for a person who wants
// to see it work: an embedded server and store, a scheduler, two workers, a
// notifier, a demo service and three instances of another, with TTLs of seconds. What it shows and
// counts it hears on the bus, as any other subscriber would.
//
// It is a demonstration and a smoke test. It keeps nothing: its data directory
// is temporary unless one is named.
package dev
