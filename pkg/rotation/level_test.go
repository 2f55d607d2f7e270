package rotation_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
)

// TestARotationAsPlannedIsNoWarning: only that of a version that has ended is one.
func TestARotationAsPlannedIsNoWarning(t *testing.T) {
	t.Parallel()
	for reason, level := range map[events.Reason]string{
		events.ReasonNearExpiry: "INFO", events.ReasonManual: "INFO", events.ReasonExpired: "WARN",
	} {
		var log bytes.Buffer
		x := newRig(t, func(c *rotation.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		d := x.order(t, time.Now())
		d.Event.Data.Reason = reason
		if err := x.r.Handle(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if want := "level=" + level + " msg=secret.near_expiry"; !strings.Contains(log.String(), want) {
			t.Errorf("%s: the log has no %q:\n%s", reason, want, log.String())
		}
	}
}
