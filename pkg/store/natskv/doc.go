// Package natskv is the embedded store: secrets in a JetStream key-value
// bucket, values sealed by a Tink keyset. It is the default on one machine and
// works the same on a cluster.
//
// The bucket holds one document per secret (s.<key>: versions, stages, tokens
// and dates, changed by compare-and-set), one sealed value per version
// (v.<key>.<version>.<reference>), and the keyset that seals them, itself sealed
// by the master key (keyset). A sealed value is bound to its bucket, secret,
// version and reference: moved elsewhere it does not open. See ADR 6, 20 and 21.
//
// The leader of the bucket answers every read that a decision or a write is based
// on; on a cluster any other server may lag behind. [Config.Direct] gives that up
// for services that only read.
//
// Versions that lost their stage keep their values until they are retired, and the
// newest hundred of those that are never retired.
//
// The package keeps no plaintext, caches no value, and does not protect the
// names of secrets: they are keys of the bucket.
package natskv
