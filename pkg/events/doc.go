// Package events owns what crosses NATS and nothing else: the types of event,
// the subjects, streams and consumers, how an event is encoded, signed and
// checked, and the rule by which a message is acknowledged.
//
// Events are CloudEvents 1.0 in binary mode: attributes in ce-* headers, the
// data as JSON. Each carries an Ed25519 signature and the W3C trace context of
// its cause. No event carries a value or anything computed from one, and none
// is to be trusted further than "look again": a receiver reads the store before
// it acts.
//
// The package knows no store, decides nothing about secrets, and never embeds a
// server; eventstest does, for tests.
package events
