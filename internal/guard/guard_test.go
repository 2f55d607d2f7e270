package guard_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/guard"
)

func TestCall(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	for _, want := range []error{nil, failed} {
		if err := guard.Call(t.Context(), log, "the work", func() error { return want }); !errors.Is(err, want) || out.Len() > 0 {
			t.Errorf("got %v, want %v; the log says %q", err, want, &out)
		}
	}
	err := guard.Call(t.Context(), log, "the work", func() error { panic("a value") })
	if err == nil || err.Error() != "the work panicked with a string" {
		t.Errorf("got %v", err)
	}
	if s := out.String(); !strings.Contains(s, "level=ERROR msg=panic") || !strings.Contains(s, "guard_test.go") || strings.Contains(s, "a value") {
		t.Errorf("the log says %s", s)
	}
}
