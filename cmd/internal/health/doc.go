// Package health says whether a program can do its work on the bus: publish to each
// stream, with all replicas, on a disk that has room and a clock that is right. It
// shows that as metrics and for /readyz, and mends nothing.
package health
