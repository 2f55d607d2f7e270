// Package guard turns panics into errors, so that one bad item does not end the
// work on all others.
package guard

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Call calls fn and returns its error. If fn panics, Call logs the panic with its
// stack at level error and returns an error instead. Only the type of the panic's
// value is shown: the value might hold a secret.
func Call(ctx context.Context, log *slog.Logger, what string, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked with a %T", what, p)
			log.LogAttrs(ctx, slog.LevelError, "panic", slog.String("error", err.Error()), slog.String("stack", string(debug.Stack())))
		}
	}()
	return fn()
}
