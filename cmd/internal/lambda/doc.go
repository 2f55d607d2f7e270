// Package lambda is the rotator as a function of AWS Lambda.
//
// It answers three kinds of request: a step of a rotation that AWS Secrets
// Manager drives (see [Step]), an event of EventBridge, and a command of
// a caller with permission to invoke the function ([Command]). A step is a phase of the
// rotation that pkg/rotation knows; nothing of it is done here a second time.
//
// Every step asks AWS first whether the rotation is still the one it is said to
// be. What has been promoted is announced on NATS or on EventBridge; that no
// announcement gets through fails no rotation, and is an error in the log.
//
// Nothing is opened before it is needed: creating, setting and testing talk to
// Secrets Manager alone.
//
// The function keeps no state of its own and arms no timer, because AWS
// schedules. It follows no rollout and retires nothing, which is the business
// of a notifier and a worker beside it.
package lambda
