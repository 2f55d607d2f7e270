// Package node is rotator run: one process with the roles of scheduler, worker
// and notifier, on the cluster of its configuration or around an embedded server.
// It serves health and metrics, and drains when it is told to end.
//
// It wires: what a role does is in the packages of the roles.
package node
