// Package process names processes of this host so that no later one has the name,
// as far as the system can tell them apart. It signals none and waits for none.
package process
