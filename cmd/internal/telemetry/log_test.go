package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/cmd/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/secret"
)

func newLogger(t *testing.T, level, format string) (*slog.Logger, *bytes.Buffer) {
	t.Helper()
	var buf bytes.Buffer
	log, err := telemetry.NewLogger(&buf, level, format)
	if err != nil {
		t.Fatal(err)
	}
	return log, &buf
}

func line(t *testing.T, buf *bytes.Buffer) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(buf.Bytes(), &m); err != nil {
		t.Fatalf("%v in %q", err, buf.String())
	}
	return m
}

func inSpan(ctx context.Context) context.Context {
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{15: 1}, SpanID: trace.SpanID{7: 2}}))
}

func TestLoggerFormats(t *testing.T) {
	for name, tt := range map[string]struct{ format, want string }{
		"auto is json away from a terminal": {"", `"msg":"hello"`},
		"auto by name":                      {"auto", `"msg":"hello"`},
		"json":                              {"json", `"msg":"hello"`},
		"text":                              {"text", `msg=hello`},
	} {
		t.Run(name, func(t *testing.T) {
			log, buf := newLogger(t, "", tt.format)
			log.Info("hello")
			if !strings.Contains(buf.String(), tt.want) {
				t.Errorf("got %q, want %s in it", buf, tt.want)
			}
		})
	}
}

func TestAutoIsJSONInAFile(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	log, err := telemetry.NewLogger(f, "", "")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hello")
	got, err := os.ReadFile(f.Name())
	if err != nil || !json.Valid(got) {
		t.Errorf("got %q, %v, want JSON", got, err)
	}
}

func TestLoggerLevels(t *testing.T) {
	for level, want := range map[string]string{"debug": "DIWE", "": "IWE", "info": "IWE", "warn": "WE", "error": "E"} {
		log, buf := newLogger(t, level, "json")
		log.Debug("D")
		log.Info("I")
		log.Warn("W")
		log.Error("E")
		var got string
		for l := range strings.Lines(buf.String()) {
			b := bytes.NewBufferString(l)
			got += line(t, b)["msg"].(string)
		}
		if got != want {
			t.Errorf("level %q lets %q through, want %q", level, got, want)
		}
	}
}

func TestLoggerRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ level, format, want string }{
		"an unknown level":  {"loud", "", `log level "loud": use debug, info, warn or error`},
		"an unknown format": {"", "xml", `log format "xml": use auto, text or json`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := telemetry.NewLogger(nil, tt.level, tt.format)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestTraceIDs(t *testing.T) {
	for name, tt := range map[string]struct {
		derive func(*slog.Logger) *slog.Logger
		want   string
	}{
		"are added":               {func(l *slog.Logger) *slog.Logger { return l }, `"b":2`},
		"beside attributes":       {func(l *slog.Logger) *slog.Logger { return l.With("a", 1) }, `"a":1`},
		"stay outside of a group": {func(l *slog.Logger) *slog.Logger { return l.WithGroup("g").With("a", 1) }, `"g":{"a":1,"b":2}`},
		"and of groups in groups": {func(l *slog.Logger) *slog.Logger { return l.With("z", 0).WithGroup("g").With("a", 1).WithGroup("h") }, `"z":0,"trace_id":"00000000000000000000000000000001","span_id":"0000000000000002","g":{"a":1,"h":{"b":2}}`},
	} {
		t.Run(name, func(t *testing.T) {
			log, buf := newLogger(t, "", "json")
			tt.derive(log).InfoContext(inSpan(t.Context()), "m", "b", 2)
			got := line(t, buf)
			if got["trace_id"] != "00000000000000000000000000000001" || got["span_id"] != "0000000000000002" {
				t.Errorf("no ids at the top level of %s", buf)
			}
			if !strings.Contains(buf.String(), tt.want) {
				t.Errorf("got %s, want %s in it", buf, tt.want)
			}
		})
	}
}

func TestNoTraceIDsOutsideOfASpan(t *testing.T) {
	log, buf := newLogger(t, "", "json")
	log.With("a", 1).InfoContext(t.Context(), "m")
	if _, ok := line(t, buf)["trace_id"]; ok {
		t.Errorf("got %s", buf)
	}
}

// Two loggers derived from one must not write into each other's list of groups.
func TestDerivedLoggersAreIndependent(t *testing.T) {
	log, buf := newLogger(t, "", "json")
	base := log.WithGroup("g").With("a", 1).With("b", 2)
	left, right := base.With("side", "left"), base.With("side", "right")
	right.InfoContext(inSpan(t.Context()), "m")
	buf.Reset()
	left.InfoContext(inSpan(t.Context()), "m")
	if !strings.Contains(buf.String(), `"side":"left"`) {
		t.Errorf("got %s", buf)
	}
}

const canary = "canary-S3cret!value"

type holder struct {
	Shown  secret.Value
	hidden secret.Value
}

func TestValuesAreRedactedInEveryFormOfLogging(t *testing.T) {
	v := secret.NewValue([]byte(canary))
	h := holder{Shown: v, hidden: v}
	forms := map[string]func(*slog.Logger){
		"as an attribute":     func(l *slog.Logger) { l.Info("m", "v", v) },
		"behind a pointer":    func(l *slog.Logger) { l.Info("m", "v", &v) },
		"in a struct":         func(l *slog.Logger) { l.Info("m", "v", h) },
		"in a pointed struct": func(l *slog.Logger) { l.Info("m", "v", &h) },
		"in a slice":          func(l *slog.Logger) { l.Info("m", "v", []secret.Value{v}) },
		"in a map":            func(l *slog.Logger) { l.Info("m", "v", map[string]any{"x": v}) },
		"in a group":          func(l *slog.Logger) { l.WithGroup("g").Info("m", slog.Group("h", "v", v)) },
		"bound to the logger": func(l *slog.Logger) { l.With("v", v).Info("m") },
		"as an error's text": func(l *slog.Logger) {
			l.Info("m", "error", fmt.Errorf("put %v %s %q %x %+v %#v %d", v, v, v, v, v, v, v))
		},
		"in the message":    func(l *slog.Logger) { l.Info(fmt.Sprint("m ", v, &v)) },
		"in a joined error": func(l *slog.Logger) { l.Info("m", "error", errors.Join(fmt.Errorf("%v", h), errors.New("x"))) },
		"from a recovered panic": func(l *slog.Logger) {
			defer func() { l.Info("m", "panic", recover()) }()
			panic(v)
		},
	}
	for name, log := range forms {
		for _, format := range []string{"json", "text"} {
			t.Run(name+" as "+format, func(t *testing.T) {
				l, buf := newLogger(t, "", format)
				log(l)
				if strings.Contains(buf.String(), canary) || strings.Contains(buf.String(), fmt.Sprintf("%x", canary)) {
					t.Fatal("the value is in the log line")
				}
				if !strings.Contains(buf.String(), "[redacted]") {
					t.Errorf("no [redacted] in %s", buf)
				}
			})
		}
	}
}
