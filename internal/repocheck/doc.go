// Package repocheck holds the tests of what no single package can see: which package imports which, which modules the
// product needs and why, what may not stand in a tracked file, and where a test may sleep.
//
// It has no code for programs and nothing imports it. It does not test behaviour, and it does not lint: what one file
// shows by itself is left to .golangci.yml, so that editors report it.
package repocheck
