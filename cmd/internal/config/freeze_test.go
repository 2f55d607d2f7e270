package config_test

import (
	"strings"
	"testing"
	"time"
)

// TestFreezes: in either form, for every secret; what contradicts itself is refused.
func TestFreezes(t *testing.T) {
	t.Parallel()
	c := parse(t, `
stores: {main: {type: natskv}}
defaults: {no_subscribers: hold}
freeze:
  - {reason: year-end, from: 2026-12-20, to: "2027-01-03T06:00:00+01:00", services: [api], tags: {env: prod}}
  - {reason: weekend, cron: "0 16 * * 5", zone: Europe/Vienna, duration: 64h, stores: [main], secrets: [A]}
secrets: [{id: A}, {id: B}]
`)
	specs, err := c.Specs()
	if err != nil || len(specs) != 2 || len(specs[1].Freezes) != 2 || specs[0].Freezes[0] != specs[1].Freezes[0] {
		t.Fatalf("got %+v, %v", specs, err)
	}
	f := specs[0].Freezes[0]
	if end, ok := f.Ends(time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC)); !ok || !end.Equal(time.Date(2027, 1, 3, 5, 0, 0, 0, time.UTC)) {
		t.Errorf("it ends at %s, %v", end, ok)
	}
	const rest = "\nstores: {main: {type: natskv}}\n"
	for text, want := range map[string]string{
		`{reason: r}`:                                                   "it does not say when it is",
		`{from: 2026-12-20, to: 2026-12-21}`:                            "reason is missing",
		`{reason: r, from: 2026-12-20}`:                                 "it does not say when it is",
		`{reason: r, from: 2026-12-20, to: 2026-12-20}`:                 "it ends before it begins",
		`{reason: r, from: tomorrow, to: 2026-12-20}`:                   "is neither a day nor a time with a zone",
		`{reason: r, from: 2026-12-20, cron: "* * * * *"}`:              "both from and to, and cron",
		`{reason: r, cron: "0 16 * * 5"}`:                               "duration",
		`{reason: r, from: 2026-12-20, to: 2026-12-21, stores: [mian]}`: "there is no store",
	} {
		if got := strings.Join(problems(t, "freeze: ["+text+"]"+rest), "\n"); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
