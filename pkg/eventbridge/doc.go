// Package eventbridge connects the bus with Amazon EventBridge, both ways.
//
// # Out
//
// A [Publisher] puts what was announced on an event bus of AWS: every
// secret.rotated, secret.rotation_failed and secret.rollout becomes one entry
// whose detail-type is the type of the event and whose detail is the event as
// CloudEvents 1.0 in JSON ([Detail], docs/eventbridge.schema.json). A
// [Forwarder] feeds it from the log of the bus, by a durable consumer of its
// own. An entry that AWS took while its answer was lost is put again, with the
// same detail.id: consumers take each id once.
//
// # In
//
// What happens in Secrets Manager arrives from EventBridge as a message. Every
// principal that can write to the queue or invoke the function can send one. An
// [Intake] takes from it the name of a secret and nothing else, and has that
// secret looked at in its store. A [Queue] hands it the messages of an SQS queue.
//
// # What it does not do
//
// It makes no bus, rule, queue or permission, reads and writes no secret, and
// decides nothing about one. It does not keep order on the other side, which
// EventBridge does not promise.
package eventbridge
