// Package inspect is the read model: what is known of each managed secret, as
// rotator status, rotator plan and the commands of the Lambda function show it.
// [Inspector] reads whole catalogs, [View] one secret that the caller has
// described already.
//
// The package puts together what others decide: pkg/catalog says which secrets
// are managed, pkg/scheduler when each rotates, pkg/rollout who blocks. It adds
// no rule of its own, except which secrets need attention.
//
// It changes nothing: it writes to no store, publishes no event and arms no
// timer. It reads no value, unless [Inspector.Shapes] asks for that. It keeps nothing between two calls, and renders
// nothing: programs print a [Secret] as a table or as JSON.
package inspect
