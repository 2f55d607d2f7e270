// Package secret holds the nouns and the rules of rotation: what a secret is
// called ([ID]), which versions of it exist ([Version], [Stage]), what is
// wanted of it ([Spec]), what is known of it ([Metadata]), when it has to be
// replaced ([Spec.RotateAt]), and what a compliant value looks like ([Policy]).
//
// Everything here is a pure function of its arguments, but for the random bytes
// of [Policy.Generate] and the time zones that [ParseWindow] looks up. The
// package does no other I/O, reads no clock, keeps no value and starts no
// goroutine: stores live in pkg/store, the bus in pkg/events, and the moment a
// decision is made for is an argument.
package secret
