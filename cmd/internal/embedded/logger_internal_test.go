package embedded

import (
	"log/slog"
	"testing"
)

// TestARecoveryIsNotAWarning: an index that a killed server left behind is made anew.
func TestARecoveryIsNotAWarning(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]slog.Level{
		"Filestore [%s] TTL state is outdated; attempting to recover using linear scan (seq %d to %d)": slog.LevelInfo,
		"JetStream resource limits exceeded for server":                                                slog.LevelWarn,
	} {
		if got := recovery(format); got != want {
			t.Errorf("%s: %s, want %s", format, got, want)
		}
	}
}
