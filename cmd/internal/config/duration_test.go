package config_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

func TestDurations(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"30d": 30 * day, "1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour, "90s": 90 * time.Second, "1h30m": 90 * time.Minute,
		"250ms": 250 * time.Millisecond, "5µs": 5 * time.Microsecond, "106751d": 106751 * day, "36h": 36 * time.Hour,
	} {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%s is %s, %v, want %s", text, time.Duration(d), err, want)
		}
	}
	for _, text := range []string{"", "5", "d", "h", "-5m", "+5m", "5 m", "1h2d", "1d1d", "5x", "none", "1e3s", ".5h", "106752d", "106751d24h", "9223372036855s", "0s", "0d"} {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %s", text, time.Duration(d))
		}
	}
}

func TestDurationsOfNone(t *testing.T) {
	for text, want := range map[string]config.DurationOrNone{"none": config.None, "0s": config.None, "0d": config.None, "1m": config.DurationOrNone(time.Minute)} {
		var d config.DurationOrNone
		if err := d.UnmarshalText([]byte(text)); err != nil || d != want {
			t.Errorf("%s is %d, %v", text, d, err)
		}
	}
}

func TestDurationsReadBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := config.Duration(rapid.Int64Range(1, math.MaxInt64).Draw(t, "d"))
		if rapid.Bool().Draw(t, "whole seconds") {
			want = max(want/1e9, 1) * 1e9
		}
		var got config.Duration
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Fatalf("%d is written %s and read as %d, %v", want, want, got, err)
		}
	})
}

func TestDurationsAreWrittenShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		720 * time.Hour: "30d", 36 * time.Hour: "1d12h", 90 * time.Minute: "1h30m", time.Hour: "1h", 5 * time.Minute: "5m", 10 * time.Second: "10s",
		24*time.Hour + 20*time.Second: "1d20s", 100 * time.Minute: "1h40m", time.Hour + time.Second: "1h0m1s",
	} {
		if got := config.Duration(d).String(); got != want {
			t.Errorf("%s is written %s, want %s", d, got, want)
		}
	}
}
