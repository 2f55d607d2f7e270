// Package running is the configuration that a program runs, beside the one in its
// file: it loads the file again at SIGHUP and when an operator asks on the bus, and
// answers which of the two differs in what.
package running
