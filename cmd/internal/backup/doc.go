// Package backup writes the streams of a single node into one file, and makes a data
// directory from it.
//
// The first line of the file is the manifest, sealed by the signing key of the node. The
// snapshots of the streams follow, in the order of the manifest and without anything
// between them, as NATS makes them. The values in them are sealed as the store keeps
// them. Keys are not in the file.
//
// What goes with the moment is not in the file either: who uses which version, reports,
// timers, notifications and the sightings of readers. A restored node therefore makes a
// new stream of uses. It is younger than the last confirmation that is in the backup, and
// so what the fleet did since the backup is unknown and not "nothing"; see ADR 55.
package backup
