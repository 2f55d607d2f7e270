// Package nats has the accounts of the NATS servers as a file, from which
// "rotator nats accounts" makes those of a configuration.
package nats

import _ "embed"

// Accounts is accounts.conf.
//
//go:embed accounts.conf
var Accounts string
