package client

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// restartPause is how long a loop rests that has panicked.
const restartPause = time.Second

// panicked counts and logs a panic and returns it as an error. Only the type of
// the panic's argument is shown: the argument may hold a value.
func (m *Manager) panicked(ctx context.Context, where string, p any, attrs ...slog.Attr) error {
	err := fmt.Errorf("the %s panicked with a %T", where, p)
	m.meters.panics.Add(ctx, 1, metric.WithAttributes(attribute.String("where", where)))
	m.log.LogAttrs(ctx, slog.LevelError, "secret.panic", append(attrs,
		slog.String("error", err.Error()), slog.String("stack", string(debug.Stack())))...)
	return err
}

// keep runs a loop until the Manager is closed. A loop that panics begins again
// after restartPause, so that a fault of a bus or a logger ends no reload for good.
func (m *Manager) keep(where string, loop func()) {
	for m.work.Err() == nil && !m.ended(where, loop) {
		t := time.NewTimer(restartPause)
		select {
		case <-t.C:
		case <-m.work.Done():
		}
		t.Stop()
	}
}

// ended runs f and reports whether it returned. A panic of f is logged and counted.
func (m *Manager) ended(where string, f func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			_ = m.panicked(m.work, where, p) // logged and counted
		}
	}()
	f()
	return true
}
