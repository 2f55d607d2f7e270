// Package faketime has the tests of the client that run with a server in fake time,
// which the race detector cannot: the other tests of the client run under it.
package faketime
