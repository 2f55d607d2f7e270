package events

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric/noop"
)

// TestAnUntrustedKeyIsNamed in the log, with what to do about it, and nothing that a
// stranger wrote in its place.
func TestAnUntrustedKeyIsNamed(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{"00112233aabbccdd": "key_id=00112233aabbccdd", "a value\nof a stranger": "key_id=invalid", "": "key_id=invalid"} {
		var log bytes.Buffer
		b := fixedBus(t)
		b.log, b.rejected = slog.New(slog.NewTextHandler(&log, nil)), noop.Int64Counter{}
		b.note(t.Context(), "live.api.DB", rejection{reason: rejectUntrusted, key: key})
		if got := log.String(); !strings.Contains(got, want) || !strings.Contains(got, "trusted keys") || strings.Contains(got, "stranger") {
			t.Errorf("%q: %s", key, got)
		}
	}
}
