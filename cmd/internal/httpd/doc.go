// Package httpd is the small HTTP server of the two programs: /metrics for
// scraping, /healthz for "the process is alive" and /readyz for "it can do its
// work", with the reasons when it cannot.
//
// It has no authentication and no TLS: bind it to loopback or to a network that
// only the monitoring reaches. Nothing that it serves is secret. What is
// checked is decided by the caller that makes the checks.
package httpd
