// Package client is what a service imports to use secrets that rotate: a
// [Manager] that holds current values and replaces them while the service runs,
// a [Keyring] that signs with the current version and verifies with any kept
// one, an [AuditLogger] and a [TokenAuthenticator] built on it.
//
// A read never blocks, calls nothing and allocates nothing: it is one atomic
// load. A new version is fetched, offered to the service's hooks, and taken into
// use only when all of them accept it; otherwise the one before stays and the
// failure is reported. What the process uses is on record on the
// bus, which is how a rotator knows when the old version may be retired.
//
// # How a version comes into use
//
// A notification, the poll, a retry or [Manager.Refresh] leads to a read of the
// current version. The version that the store returns counts, whichever was
// announced. If it is another one than that in use, the hooks are called in the
// order in which they were added. If all of them accept it, readers see it from
// then on, and the report says so. If one refuses it, or the store cannot be read,
// the read is repeated after [Config.Retry], then after twice that, up to a minute.
//
// A staged version is offered to the hooks and not taken into use. Reloads of one
// secret happen one after the other, those of several side by side. The decisions
// are in internal/reload, which the Python client implements, too.
//
// # How long a version may be used
//
// Before the first read the process puts on the bus that it uses a secret, and it
// renews its presence there. A version is confirmed by a renewal while it is on
// record, and by a read of the store's primary that calls it current. Past a fence
// without a confirmation it may have been retired: users that check at each use then
// read the store once, and refuse. See [FenceError] and
// docs/adr/0028-silence-is-not-an-end.md.
//
// # What is accepted besides
//
// An overlap, a staged version and an older key are accepted besides the version in
// use. They are on record, too. When the notifier says that a version is about to be
// retired, everything before its successor is dropped at once, and the record shows
// it; only then the version is retired.
//
// The package writes to no store and decides nothing about rotation. It reads
// with the credentials of the service that imports it.
package client
