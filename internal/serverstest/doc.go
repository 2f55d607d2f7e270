// Package serverstest gives tests the real servers that are not written in Go: moto,
// which speaks the API of AWS, and OpenBao, which speaks that of Vault. Each
// test that asks gets a server of its own on loopback, ended with the test.
//
// It installs nothing: "go tool task tools:python" does, and a test that finds
// no server fails with these words.
package serverstest
