package secret_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	newYork  = "America/New_York"
	berlin   = "Europe/Berlin"
	lordHowe = "Australia/Lord_Howe" // its clock goes forward by half an hour
	cairo    = "Africa/Cairo"        // its clock goes forward at midnight
	apia     = "Pacific/Apia"        // it went forward by a day in 2011
)

func TestParseWindowRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		cron, zone string
		d          time.Duration
		want       string
	}{
		"no duration":                     {"0 3 * * *", "", 0, "duration 0s"},
		"a negative duration":             {"0 3 * * *", "", -1, "duration -1ns"},
		"more than a week":                {"0 3 * * *", "", secret.MaxWindow + 1, "at most 168h0m0s"},
		"a zone that is none":             {"0 3 * * *", "Europe/Wien", 1, `"Europe/Wien" is no IANA name`},
		"the zone of the machine":         {"0 3 * * *", "Local", 1, `"Local" is no IANA name`},
		"a path as a zone":                {"0 3 * * *", "/etc/localtime", 1, "is no IANA name"},
		"a way out of the zones":          {"0 3 * * *", "../../etc/localtime", 1, "is no IANA name"},
		"no expression":                   {"", "", 1, "empty"},
		"seconds":                         {"0 0 3 * * *", "", 1, "fields"},
		"four fields":                     {"0 3 * *", "", 1, "fields"},
		"a descriptor":                    {"@daily", "", 1, "descriptors"},
		"a zone in the expression":        {"TZ=Asia/Tokyo 0 3 * * *", "", 1, "five fields"},
		"a minute beyond the hour":        {"60 3 * * *", "", 1, "60"},
		"a range from beyond the hour":    {"62-5 3 * * *", "", 1, "62 is more than 59"},
		"a word":                          {"a b c d e", "", 1, ""},
		"an empty list":                   {", 3 * * *", "", 1, "never fires"},
		"30 February":                     {"0 0 30 2 *", "", 1, "never fires"},
		"the 31st of months without one":  {"0 0 31 4,6,9,11 *", "", 1, "never fires"},
		"an expression of great length":   {strings.Repeat("0,", 5000) + "0 3 * * *", "", 1, "too long"},
		"a step of nothing":               {"*/0 3 * * *", "", 1, "step"},
		"a number that is out of bounds":  {"99999999999999999999 3 * * *", "", 1, ""},
		"a hash expression as of Jenkins": {"H 3 * * *", "", 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := secret.ParseWindow(tt.cron, tt.zone, tt.d)
			if !errors.Is(err, secret.ErrInvalidWindow) || !strings.Contains(err.Error(), tt.want) || w != (secret.Window{}) {
				t.Errorf("%v, %v", w, err)
			}
		})
	}
}

func TestOpeningsHaveNoMonotonicClock(t *testing.T) {
	next := window(t, "* * * * *", "", time.Minute).Next(time.Now())
	if next != next.Round(0) {
		t.Error(next)
	}
}

func TestWindowString(t *testing.T) {
	if got := window(t, "0 3 * * SUN", berlin, 2*time.Hour).String(); got != "0 3 * * SUN for 2h0m0s (Europe/Berlin)" {
		t.Error(got)
	}
	if got := window(t, "0 3 * * *", "", time.Hour).String(); got != "0 3 * * * for 1h0m0s (UTC)" {
		t.Error(got)
	}
}

func TestZeroWindowNeverOpens(t *testing.T) {
	var w secret.Window
	now := time.Unix(1e9, 0)
	if w.Contains(now) || !w.Next(now).IsZero() {
		t.Error("it does")
	}
	if at, ok := secret.NextOpen([]secret.Window{w}, now); ok || !at.IsZero() {
		t.Error(at, ok)
	}
	_ = w.String()
}

func TestNextOpening(t *testing.T) {
	for name, tt := range map[string]struct {
		cron, zone, after string
		want              []string
	}{
		"each day":                                    {"30 3 * * *", "", "2026-03-01T03:29:59Z", []string{"2026-03-01T03:30:00Z", "2026-03-02T03:30:00Z"}},
		"the opening itself is not after itself":      {"30 3 * * *", "", "2026-03-01T03:30:00Z", []string{"2026-03-02T03:30:00Z"}},
		"a nanosecond before the opening":             {"30 3 * * *", "", "2026-03-01T03:29:59.999999999Z", []string{"2026-03-01T03:30:00Z"}},
		"names, lists, ranges and steps":              {"*/30 8-9 1,15 JAN-MAR *", "", "2026-03-15T08:31:00Z", []string{"2026-03-15T09:00:00Z", "2026-03-15T09:30:00Z", "2027-01-01T08:00:00Z"}},
		"Sunday is 0 and 7":                           {"0 0 * * 7", "", "2026-03-01T00:00:00Z", []string{"2026-03-08T00:00:00Z"}},
		"*/n beside a weekday wants both":             {"0 3 */2 * 1", "", "2026-06-01T00:00:00Z", []string{"2026-06-01T03:00:00Z", "2026-06-15T03:00:00Z", "2026-06-29T03:00:00Z", "2026-07-13T03:00:00Z"}},
		"a weekday */n beside a day wants both":       {"0 3 1 * */2", "", "2026-06-02T00:00:00Z", []string{"2026-08-01T03:00:00Z", "2026-09-01T03:00:00Z"}},
		"a star in a list is a star":                  {"0 3 *,5 * 1", "", "2026-06-02T00:00:00Z", []string{"2026-06-08T03:00:00Z"}},
		"either day is enough, as in crontab(5)":      {"0 0 13 * FRI", "", "2026-03-01T00:00:00Z", []string{"2026-03-06T00:00:00Z", "2026-03-13T00:00:00Z", "2026-03-20T00:00:00Z", "2026-03-27T00:00:00Z", "2026-04-03T00:00:00Z", "2026-04-10T00:00:00Z", "2026-04-13T00:00:00Z"}},
		"29 February":                                 {"0 0 29 2 *", "", "2026-03-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		"29 February across a year that has none":     {"0 0 29 2 *", "", "2096-02-29T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		"a zone with a half hour":                     {"0 9 * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z", []string{"2026-01-01T03:30:00Z"}},
		"New York in winter and in summer":            {"0 3 * * *", newYork, "2026-03-07T00:00:00Z", []string{"2026-03-07T08:00:00Z", "2026-03-08T07:00:00Z", "2026-03-09T07:00:00Z"}},
		"an opening that the clock skips":             {"30 2 * * *", newYork, "2026-03-07T08:00:00Z", []string{"2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"}},
		"several openings that the clock skips":       {"0,20,40 2 * * *", newYork, "2026-03-08T06:00:00Z", []string{"2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"}},
		"an opening as the clock resumes":             {"0 2-3 * * *", newYork, "2026-03-08T06:00:00Z", []string{"2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"}},
		"a nanosecond before the clock is changed":    {"30 2 * * *", newYork, "2026-03-08T06:59:59.999999999Z", []string{"2026-03-08T07:00:00Z"}},
		"the moment when the clock is changed":        {"30 2 * * *", newYork, "2026-03-08T07:00:00Z", []string{"2026-03-09T06:30:00Z"}},
		"an opening that the clock shows twice":       {"30 1 * * *", newYork, "2026-11-01T00:00:00Z", []string{"2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z"}},
		"every half hour while the clock goes back":   {"*/30 * * * *", newYork, "2026-11-01T04:59:00Z", []string{"2026-11-01T05:00:00Z", "2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z"}},
		"Berlin skips 2:30":                           {"30 2 * * SUN", berlin, "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-04-05T00:30:00Z"}},
		"Berlin has 2:30 twice":                       {"30 2 25 10 *", berlin, "2026-10-24T00:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2027-10-25T00:30:00Z"}},
		"midnight that does not exist":                {"0 0 * * *", cairo, "2026-04-23T12:00:00Z", []string{"2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"}},
		"a clock that goes forward by half an hour":   {"15 2 * * *", lordHowe, "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
		"a day that does not exist":                   {"0 12 30 12 *", apia, "2011-12-01T00:00:00Z", []string{"2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z"}},
		"the last day of a leap year far away":        {"30 12 31 12 *", newYork, "2040-12-30T00:00:00Z", []string{"2040-12-31T17:30:00Z", "2041-12-31T17:30:00Z"}},
		"across that day to the next year":            {"30 2 10 3 *", newYork, "2040-12-31T10:00:00Z", []string{"2041-03-10T07:00:00Z", "2042-03-10T06:30:00Z"}},
		"a year of a zone with a change at each year": {"30 2 8 3 *", newYork, "2025-03-09T00:00:00Z", []string{"2026-03-08T07:00:00Z", "2027-03-08T07:30:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			w, at := window(t, tt.cron, tt.zone, time.Minute), date(t, tt.after)
			for _, want := range tt.want {
				if at = w.Next(at); !at.Equal(date(t, want)) {
					t.Fatalf("next is %s, want %s", at.UTC(), want)
				}
			}
		})
	}
}

// The openings near a change of the clock, found in the slow and simple way:
// minute by minute, asking a predicate what the clock shows or has skipped.
func TestWindowsAgreeWithTheClock(t *testing.T) {
	type clock struct{ weekday, day, hour, minute int }
	crons := map[string]func(clock) bool{
		"* * * * *":      func(clock) bool { return true },
		"30 2 * * *":     func(c clock) bool { return c.hour == 2 && c.minute == 30 },
		"*/20 1-2 * * *": func(c clock) bool { return (c.hour == 1 || c.hour == 2) && c.minute%20 == 0 },
		"0 0 * * *":      func(c clock) bool { return c.hour == 0 && c.minute == 0 },
		"45 0,23 * * *":  func(c clock) bool { return (c.hour == 0 || c.hour == 23) && c.minute == 45 },
		"15 * * * SUN":   func(c clock) bool { return c.weekday == 0 && c.minute == 15 },
		"10 2 1-7 * FRI": func(c clock) bool { return (c.day <= 7 || c.weekday == 5) && c.hour == 2 && c.minute == 10 },
	}
	show := func(t time.Time) clock { return clock{int(t.Weekday()), t.Day(), t.Hour(), t.Minute()} }
	for _, change := range []struct{ zone, at string }{
		{newYork, "2026-03-08T07:00:00Z"}, {newYork, "2026-11-01T06:00:00Z"}, {berlin, "2026-03-29T01:00:00Z"}, {berlin, "2026-10-25T01:00:00Z"},
		{lordHowe, "2026-10-03T15:30:00Z"}, {lordHowe, "2026-04-04T15:00:00Z"}, {cairo, "2026-04-23T22:00:00Z"}, {cairo, "2026-10-29T21:00:00Z"},
		{apia, "2011-12-30T10:00:00Z"},
	} {
		for cron, matches := range crons {
			const d = 25 * time.Minute
			w := window(t, cron, change.zone, d)
			from := date(t, change.at).Add(-30 * time.Hour)
			next, last := w.Next(from), time.Time{}
			for at := from.Add(time.Minute).In(mustZone(t, change.zone)); at.Sub(from) < 60*time.Hour; at = at.Add(time.Minute) {
				opens := matches(show(at))
				_, before := at.Add(-time.Minute).Zone()
				_, offset := at.Zone()
				for skipped := range max(0, (offset-before)/60) {
					opens = opens || matches(show(at.UTC().Add(time.Duration(before/60+skipped)*time.Minute)))
				}
				if opens != at.Equal(next) {
					t.Fatalf("%s: at %s opens %v, next was %s", w, at, opens, next)
				}
				if opens {
					next, last = w.Next(at), at
				}
				if open := !last.IsZero() && at.Sub(last) < d; at.Sub(from) > d && open != w.Contains(at) {
					t.Fatalf("%s: at %s open is %v", w, at, !open)
				}
			}
		}
	}
}

func mustZone(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestContains(t *testing.T) {
	daily := window(t, "0 22 * * *", "", 4*time.Hour)
	week := window(t, "0 0 * * MON", "", secret.MaxWindow)
	skipped := window(t, "30 2 * * *", newYork, 40*time.Minute)
	short := window(t, "* * * * *", "", time.Second)
	for _, tt := range []struct {
		window secret.Window
		at     string
		want   bool
	}{
		{daily, "2026-01-01T21:59:59.999Z", false}, {daily, "2026-01-01T22:00:00Z", true}, {daily, "2026-01-02T01:59:59.999Z", true}, {daily, "2026-01-02T02:00:00Z", false},
		{week, "2026-01-01T00:00:00Z", true}, {week, "2026-01-05T00:00:00Z", true},
		{skipped, "2026-03-08T06:59:59Z", false}, {skipped, "2026-03-08T07:00:00Z", true}, {skipped, "2026-03-08T07:39:59Z", true}, {skipped, "2026-03-08T07:40:00Z", false},
		{short, "2026-01-01T00:00:00.5Z", true}, {short, "2026-01-01T00:00:01Z", false},
	} {
		if got := tt.window.Contains(date(t, tt.at)); got != tt.want {
			t.Errorf("%s at %s: %v", tt.window, tt.at, got)
		}
	}
}

func TestNextOpen(t *testing.T) {
	windows := []secret.Window{window(t, "0 20 * * *", "", time.Hour), {}, window(t, "0 8 * * *", "", time.Hour)}
	for at, want := range map[string]string{
		"2026-01-01T08:30:00Z": "2026-01-01T08:30:00Z", "2026-01-01T09:00:00Z": "2026-01-01T20:00:00Z", "2026-01-01T21:00:00Z": "2026-01-02T08:00:00Z",
	} {
		if got, ok := secret.NextOpen(windows, date(t, at)); !ok || !got.Equal(date(t, want)) {
			t.Errorf("from %s: %s, %v", at, got, ok)
		}
	}
	if _, ok := secret.NextOpen(nil, time.Now()); ok {
		t.Error("no window opens")
	}
}

// windowPool has windows of every kind: seldom, often, short, long, and such
// as lie on a change of the clock.
func windowPool(t rapid.TB) []secret.Window {
	t.Helper()
	return []secret.Window{
		window(t, "* * * * *", "", time.Second), window(t, "*/7 * * * *", berlin, 90*time.Second), window(t, "30 2 * * *", newYork, time.Hour),
		window(t, "0 0 * * *", cairo, 4*time.Hour), window(t, "0 3 * * SUN", berlin, 6*time.Hour), window(t, "0 0 1 * *", lordHowe, secret.MaxWindow),
		window(t, "0 12 29 2 *", "", 24*time.Hour), window(t, "15 1 1 1 *", newYork, 100*time.Millisecond), {},
	}
}

func moments() *rapid.Generator[time.Time] {
	return rapid.Map(rapid.Int64Range(0, 7e18), func(ns int64) time.Time { return time.Unix(0, ns) })
}

func TestNextIsTheFirstOpening(t *testing.T) {
	pool := windowPool(t)
	rapid.Check(t, func(t *rapid.T) {
		w, at := rapid.SampledFrom(pool[:len(pool)-1]).Draw(t, "window"), moments().Draw(t, "at")
		next := w.Next(at)
		if !next.After(at) || !w.Contains(next) || next.Truncate(time.Minute) != next {
			t.Fatalf("%s from %s: %s", w, at, next)
		}
		between := at.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(at)-1)).Draw(t, "between")))
		if again := w.Next(between); !again.Equal(next) {
			t.Errorf("%s from %s: %s, from %s: %s", w, at, next, between, again)
		}
	})
}
