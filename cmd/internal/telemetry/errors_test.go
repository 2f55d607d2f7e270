package telemetry

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestErrorHandlerSaysHowManyItLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		h := newErrorHandler(slog.New(slog.NewTextHandler(&buf, nil)))
		for range 100 {
			h.Handle(errors.New("down"))
		}
		time.Sleep(errorInterval)
		h.Handle(errors.New("still down"))
		if got := strings.Count(buf.String(), "\n"); got != 2 {
			t.Fatalf("%d lines:\n%s", got, &buf)
		}
		for _, want := range []string{`error=down left_out=0`, `error="still down" left_out=99`} {
			if !strings.Contains(buf.String(), want) {
				t.Errorf("no %s in\n%s", want, &buf)
			}
		}
	})
}
