// Package storetest holds the suite that every driver of pkg/store has to pass,
// and a driver in memory for tests of what stands above a store. Only tests
// import it.
package storetest
