package secret

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustWindow(t rapid.TB, cron, zone string, d time.Duration) Window {
	t.Helper()
	w, err := ParseWindow(cron, zone, d)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestLastWindowed(t *testing.T) {
	noon := mustWindow(t, "0 12 * * *", "", time.Hour)
	evening := mustWindow(t, "0 18 * * *", "", 2*time.Hour)
	blink := mustWindow(t, "0 6 * * *", "", 500*time.Millisecond)
	at := func(hour, minute, second int) time.Time {
		return time.Date(2026, 1, 10, hour, minute, second, 0, time.UTC)
	}
	for name, tt := range map[string]struct {
		windows     []Window
		created, at time.Time
		frac        float64
		want        time.Time
	}{
		"in a window it is the moment itself":        {[]Window{evening, noon}, at(0, 0, 0), at(12, 30, 5), 0.5, at(12, 30, 5)},
		"the opening is in the window":               {[]Window{noon}, at(0, 0, 0), at(12, 0, 0), 0.5, at(12, 0, 0)},
		"after the close it is just before that":     {[]Window{noon}, at(0, 0, 0), at(15, 0, 0), 0, at(12, 59, 59)},
		"the close is not in the window":             {[]Window{noon}, at(0, 0, 0), at(13, 0, 0), 0, at(12, 59, 59)},
		"half way to the opening":                    {[]Window{noon}, at(0, 0, 0), at(15, 0, 0), 0.5, at(12, 29, 59)},
		"nearly at the opening":                      {[]Window{noon}, at(0, 0, 0), at(15, 0, 0), 0.9999, at(12, 0, 0)},
		"created while it was open":                  {[]Window{noon}, at(12, 59, 0), at(15, 0, 0), 0.99, at(12, 59, 0)},
		"created in its last second":                 {[]Window{noon}, at(12, 59, 59).Add(time.Second / 2), at(15, 0, 0), 0.5, at(12, 59, 59).Add(time.Second / 2)},
		"the window before counts":                   {[]Window{noon}, at(0, 0, 0).AddDate(0, 0, -5), at(11, 0, 0), 0, at(12, 59, 59).AddDate(0, 0, -1)},
		"of two windows the later":                   {[]Window{noon, evening}, at(0, 0, 0), at(22, 0, 0), 0, at(19, 59, 59)},
		"of two windows the one that was":            {[]Window{evening, noon}, at(0, 0, 0), at(17, 0, 0), 0, at(12, 59, 59)},
		"a window of less than a second":             {[]Window{blink}, at(0, 0, 0), at(7, 0, 0), 0.3, at(6, 0, 0)},
		"none since it was created":                  {[]Window{noon, evening}, at(13, 0, 0), at(17, 0, 0), 0, time.Time{}},
		"an empty window is none":                    {[]Window{{}}, at(0, 0, 0), at(17, 0, 0), 0, time.Time{}},
		"without windows there is none":              {nil, at(0, 0, 0), at(17, 0, 0), 0, time.Time{}},
		"every minute of a year costs no more":       {[]Window{mustWindow(t, "* * * 1 *", "", time.Second)}, at(0, 0, 0).AddDate(-1, 0, 0), at(0, 0, 0).AddDate(0, -1, 0), 0, time.Date(2025, 1, 31, 23, 59, 0, 0, time.UTC)},
		"seven years and more back to a 29 February": {[]Window{mustWindow(t, "0 0 29 2 *", "", time.Minute)}, time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2104, 2, 28, 0, 0, 0, 0, time.UTC), 0, time.Date(2096, 2, 29, 0, 0, 59, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := lastWindowed(tt.windows, tt.created, tt.at, tt.frac)
			if !got.Equal(tt.want) || ok == tt.want.IsZero() {
				t.Errorf("got %s, %v, want %s", got, ok, tt.want)
			}
		})
	}
}

func TestNextAndLastAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom([]string{"", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "Pacific/Apia", "Africa/Casablanca", "Asia/Tehran"}).Draw(t, "zone")
		w := mustWindow(t, rapid.SampledFrom([]string{"* * * * *", "30 2 * * *", "0 0 * * *", "*/50 1-3 * * SUN", "0 12 30 12 *", "0 0 29 2 *"}).Draw(t, "cron"), zone, time.Minute)
		at := time.Unix(0, rapid.Int64Range(-9e18, 9e18).Draw(t, "at"))
		last, ok := w.last(at)
		if !ok || last.After(at) {
			t.Fatalf("%s: last before %s is %s, %v", w, at, last, ok)
		}
		if next := w.Next(last); !next.After(at) {
			t.Fatalf("%s: between %s and %s is %s", w, last, at, next)
		}
		next := w.Next(at)
		if back, _ := w.last(next); !back.Equal(next) {
			t.Fatalf("%s: next after %s is %s, and last at that %s", w, at, next, back)
		}
		if back, _ := w.last(next.Add(-1)); !back.Equal(last) {
			t.Fatalf("%s: last before %s is %s, want %s", w, next, back, last)
		}
	})
}
