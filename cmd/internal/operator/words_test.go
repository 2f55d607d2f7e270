package operator

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

// TestWhomItMayBreakIsSaidInWords, and not by the codes for machines alone.
func TestWhomItMayBreakIsSaidInWords(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	absent := events.Blocker{Service: "orders", Reason: events.BlockNoInstance}
	silent := events.Blocker{Service: "api", Instance: "n4", VersionID: "0f31c2aa77", Reason: events.BlockSilent, Until: end}
	const inWords = "api/n4: it has not renewed its presence and may run version 0f31c2aa (silent) until 2026-01-02T03:04:05Z"
	if got := (Revoked{Breaks: []events.Blocker{absent, silent}}).Who(); got != "it may break orders: no instance is running (no_live_instance), "+inWords {
		t.Errorf("revoke: %q", got)
	}
	breaks, holds := Risk{Breaks: []events.Blocker{silent}, Holds: []events.Blocker{absent}}.lines()
	if strings.Join(breaks, "") != inWords || strings.Join(holds, "") != "orders: no instance is running (no_live_instance)" {
		t.Errorf("before an emergency: %q, %q", breaks, holds)
	}
	if got := (&Leaked{Fate: FateDead, Broken: []events.Blocker{silent}}).line(); !strings.HasSuffix(got, "; not waited for: "+inWords) {
		t.Errorf("its report: %q", got)
	}
}
