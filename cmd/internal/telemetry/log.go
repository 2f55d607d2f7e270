package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/term"
)

// NewLogger returns a logger that writes to w and adds trace_id and span_id to
// what is logged inside of a span. Its arguments mean what they mean in
// [Options].
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	if w == nil {
		w = os.Stderr
	}
	lvl, err := parseLevel(level)
	if err != nil {
		return nil, err
	}
	text := isTerminal(w)
	switch cmp.Or(format, "auto") {
	case "auto":
	case "text":
		text = true
	case "json":
		text = false
	default:
		return nil, fmt.Errorf("log format %q: use auto, text or json", format)
	}
	opts := &slog.HandlerOptions{Level: lvl, ReplaceAttr: readable}
	if text {
		return slog.New(withTrace(slog.NewTextHandler(w, opts))), nil
	}
	return slog.New(withTrace(slog.NewJSONHandler(w, opts))), nil
}

// readable writes durations with their unit; in JSON they would be numbers of
// nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

func parseLevel(s string) (slog.Level, error) {
	switch cmp.Or(s, "info") {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return 0, fmt.Errorf("log level %q: use debug, info, warn or error", s)
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// traceHandler adds the ids of the span in the context to each record. They
// stay at the top level also when a group is open: for that it keeps the
// handler from before the first group, and what was put on it since.
type traceHandler struct {
	slog.Handler
	root  slog.Handler
	since []func(slog.Handler) slog.Handler
}

func withTrace(h slog.Handler) slog.Handler { return traceHandler{Handler: h, root: h} }

func (h traceHandler) Handle(ctx context.Context, r slog.Record) error {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return h.Handler.Handle(ctx, r)
	}
	ids := []slog.Attr{slog.String("trace_id", sc.TraceID().String()), slog.String("span_id", sc.SpanID().String())}
	out := h.root.WithAttrs(ids)
	for _, f := range h.since {
		out = f(out)
	}
	return out.Handle(ctx, r)
}

func (h traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := h.Handler.WithAttrs(attrs)
	if len(h.since) == 0 {
		return withTrace(next)
	}
	return h.with(next, func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

func (h traceHandler) WithGroup(name string) slog.Handler {
	return h.with(h.Handler.WithGroup(name), func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h traceHandler) with(next slog.Handler, f func(slog.Handler) slog.Handler) slog.Handler {
	return traceHandler{Handler: next, root: h.root, since: append(slices.Clip(h.since), f)}
}
