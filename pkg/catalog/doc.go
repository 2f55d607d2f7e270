// Package catalog says which secrets are managed and what is configured for
// each. [Catalog] is the one answer for every program: an [Entry] comes from the
// configuration, or from a secret's own tags where a [Discovery] asks for them.
//
// The same rules decide which secret is meant, wherever its name comes from:
// the configuration, a listing, tags, an ARN or a hint on the bus.
//
//   - A path has one normal form, which its store defines ([Stores]).
//   - An id has one entry, and so has a place, which is a path in a store. The
//     configuration comes before discovery.
//   - Where a discovered secret is said to be is a hint. What its store says
//     decides ([Catalog.Find], [Catalog.Describe]).
//
// Entries change while a program runs; [Catalog.Watch] says which.
//
// The package reads no store and no bus by itself, and decides nothing about
// rotations.
package catalog
