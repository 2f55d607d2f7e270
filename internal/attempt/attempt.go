// Package attempt asks several servers for one answer, one after the other.
//
// Any replica may answer a read, and one that is paused answers none until it goes
// on, then from the past. The next one is asked before the deadline of the call.
package attempt

import (
	"context"
	"time"
)

// Pause is how long the answer of one attempt is waited for before the next begins.
const Pause = 100 * time.Millisecond

// First returns the first answer of the attempts. Each begins when the one before has
// failed, or has not answered within [Pause]; those that have begun go on until there
// is an answer. An error for which final returns true is an answer. If there is none,
// First returns the error of the attempt that failed first.
func First[T any](ctx context.Context, final func(error) bool, attempts ...func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, len(attempts)) // an attempt that is given up does not block
	pause := time.NewTimer(Pause)
	defer pause.Stop()
	var failed *answer
	begun, ended := 0, 0
	begin := func() {
		if begun < len(attempts) {
			do := attempts[begun]
			begun++
			pause.Reset(Pause)
			go func() {
				v, err := do(ctx)
				answers <- answer{v, err}
			}()
		}
	}
	for begin(); ; {
		select {
		case <-pause.C:
			begin()
		case a := <-answers:
			if ended++; a.err == nil || final(a.err) {
				return a.value, a.err
			}
			if failed == nil {
				failed = &a
			}
			if begin(); ended == begun {
				return failed.value, failed.err
			}
		}
	}
}
