// Package serverstest gives tests real servers in processes of their own: moto,
// which speaks the API of AWS, OpenBao, which speaks that of Vault, the database
// servers PostgreSQL, MariaDB and Valkey, PgBouncer, and a cluster of three
// nats-servers. Each test that asks gets servers of its own on loopback, ended with
// the test.
//
// It installs nothing: "go tool task tools:python" does, and a test that finds
// no server fails with these words, or names the package of the system. The nats-server is built from the module.
package serverstest
