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
// same detail.id: a consumer has to handle each id once.
//
// # In
//
// What happens in Secrets Manager arrives from EventBridge as a message, which
// any program can forge that can write to the queue or invoke the function. An
// [Intake] takes the name of a secret from it and nothing else, and has a
// [Reconciler] compare that secret in its store with the bus. A [Queue] hands it
// the messages of an SQS queue.
//
// # What it does not do
//
// It makes no bus, rule, queue or permission, reads and writes no secret, and
// decides nothing about one. It does not keep order on the other side, which
// EventBridge does not promise.
package eventbridge
