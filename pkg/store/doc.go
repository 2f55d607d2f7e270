// Package store reads and writes the versions of secrets. [Store] is what
// everybody holds; a [Driver] is what a service behind it has to be able to do.
// What is common to all stores stands above the drivers, once: checking
// arguments, timeouts, error texts, and the telemetry of secret.access.
//
// The package decides nothing: which version should be current is for
// pkg/rotation, when for pkg/secret. It caches nothing either: the store is the
// truth; services that want a cached value use pkg/client.
package store
