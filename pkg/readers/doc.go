// Package readers finds out which identities read secrets and report no use of them.
//
// A [Recorder] takes what logs of stores say about reads and keeps it on the bus. A
// [Socket] is the far end of an audit device of Vault or OpenBao: it hears every read
// of a KV version 2 engine, and records since when it missed none. A [Monitor] counts
// the readers that are not explained, for an alert. [Identify] records as whom our own
// programs read. The rule that tells a known reader from an unknown one is in
// pkg/rollout.
//
// It retires nothing and blocks nothing. A program that reaches a queue or a socket can
// forge what arrives there, so all of it can make an answer unknown, and no more.
package readers
