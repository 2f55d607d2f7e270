// Package eventbridge puts what was announced on the bus on an event bus of
// Amazon EventBridge.
//
// Every secret.rotated, secret.rotation_failed and secret.rollout becomes one
// entry whose detail-type is the type of the event and whose detail is the event
// as CloudEvents 1.0 in JSON: see [Detail]. An entry that AWS took while its
// answer was lost is put again, with the same detail.id: whoever consumes takes
// each id once.
//
// It makes no event bus, rule or permission, knows no store, and does not keep
// order on the other side, which EventBridge does not promise.
package eventbridge
