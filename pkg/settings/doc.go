// Package settings has the settings of connections in one shape, for the programs
// of rotator and for services: NATS with its credentials and TLS, AWS, Vault. The
// comments of the fields are the reference of the configuration.
//
// It opens what every program links: a TLS configuration, a connection of NATS,
// the keys that are trusted. It links no SDK of a store, so that a service on NATS
// alone links none: [AWS] and [VaultAccess] have the fields of the driver's own
// type and are converted to it, which does not compile when one of the two gets
// another field.
package settings
