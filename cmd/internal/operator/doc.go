// Package operator connects the commands of an operator to what runs: to the
// cluster, or to the single node on this machine under the operator's key.
//
// It opens what a configuration names and makes nothing: no key, no stream, no
// bucket. It prints nothing but the warnings of the configuration, and takes no
// flags.
package operator
