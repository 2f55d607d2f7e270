package secret_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

func TestParseWindows(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"03:00 2h":                            {"0 3 * * * for 2h0m0s (UTC)"},
		"Sat 23:30 90m":                       {"30 23 * * 6 for 1h30m0s (UTC)"},
		"Sat Sun 01:00 6h Europe/Vienna":      {"0 1 * * 6,0 for 6h0m0s (Europe/Vienna)"},
		"Mon-Fri 03:00 2h + Sat-Sun 01:00 1d": {"0 3 * * 1,2,3,4,5 for 2h0m0s (UTC)", "0 1 * * 6,0 for 24h0m0s (UTC)"},
		"03:00 2h Etc/GMT+5":                  {"0 3 * * * for 2h0m0s (Etc/GMT+5)"},
	} {
		got, err := secret.ParseWindows(text)
		if err != nil || len(got) != len(want) {
			t.Errorf("%q is %v, err %v", text, got, err)
			continue
		}
		for i, w := range got {
			if w.String() != want[i] {
				t.Errorf("%q is %s, want %s", text, w, want[i])
			}
		}
	}
	for _, text := range []string{
		"", "2h", "03:00", "3:00 2h", "03:00 2h UTC UTC", "24:00 2h", "03:00 2", "03:00 0s", "03:00 8d", "03:00 2h Vienna", "03:00 2h Local",
		"mon 03:00 2h", "Fri-Mon 03:00 2h", "Mon,Tue 03:00 2h", "Mon- 03:00 2h", "daily 03:00 2h", " 03:00 2h", "03:00  2h", "03:00 2h+04:00 2h", "03:00 2h + ",
		"* 3 * * *", "03:00 2h\n",
	} {
		if got, err := secret.ParseWindows(text); !errors.Is(err, secret.ErrInvalidWindow) {
			t.Errorf("%q is taken as %v, err %v", text, got, err)
		}
	}
}

// FuzzParseWindows takes any text for windows: nothing panics, and each window
// that comes out opens.
func FuzzParseWindows(f *testing.F) {
	f.Add("Mon-Fri 03:00 2h Europe/Vienna + Sat 01:00 12h")
	f.Add("03:00 2h")
	f.Add("Sun 23:59 168h America/New_York")
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		windows, err := secret.ParseWindows(text)
		if err != nil {
			return
		}
		for _, w := range windows {
			if w.Next(now).IsZero() {
				t.Errorf("%q never opens", text)
			}
		}
	})
}
