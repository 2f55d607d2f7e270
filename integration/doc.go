// Package integration holds the tests of the whole system: real servers, real
// processes killed for real, and a month of fake time with the real broker.
// There is nothing to import here.
package integration
