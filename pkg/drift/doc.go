// Package drift finds secrets whose current version no longer works at its target: it
// logs in with each of them, again and again.
//
// A refusal means that something else than a rotation changed the credential there, or
// wrote the version. It is reported and never repaired: the next owner of the password
// would change it back. A target that does not answer is unknown, which is neither a
// refusal nor a success.
//
// Each worker does so for itself, since each has a network of its own.
package drift
