// Package client is what a service imports to use secrets that rotate: a
// [Manager] that holds current values and replaces them while the service runs,
// a [Keyring] that signs with the current version and verifies with any kept
// one, an [AuditLogger] and a [TokenAuthenticator] built on it.
//
// A read never blocks, calls nothing and allocates nothing: it is one atomic
// load. A new version is fetched, offered to the service's hooks, and taken into
// use only when all of them accept it; otherwise the one before stays and the
// failure is reported. What the process runs is reported to the bus under a
// lease, which is how a rotator knows when the old version may be retired.
//
// The package writes to no store and decides nothing about rotation. It reads
// with the credentials of the service that imports it.
package client
