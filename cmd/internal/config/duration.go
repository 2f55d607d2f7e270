package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Duration is a length of time above zero. 0 means that it is not set. In text
// it is what [time.ParseDuration] reads, with d for days of 24 hours in front:
// 30d, 1d12h, 90s.
type Duration time.Duration

// DurationOrNone is a [Duration] that can also be switched off, with none or 0s
// in text and [None] here. 0 here means that it is not set.
type DurationOrNone time.Duration

// None is the [DurationOrNone] that has been switched off. It is negative,
// which is how the settings of the other packages spell off.
const None DurationOrNone = -1

const day = 24 * time.Hour

// DurationPattern is the regular expression of every [Duration], and of a
// [DurationOrNone] besides its words for none.
const DurationPattern = `([0-9]+(\.[0-9]+)?d|([0-9]+(\.[0-9]+)?d)?([0-9]+(\.[0-9]+)?(h|m|s|ms|us|µs|ns))+)`

var durationPattern = regexp.MustCompile("^" + DurationPattern + "$")

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := parseDuration(string(b))
	if err == nil && v == 0 {
		err = errors.New("it has to be longer than 0")
	}
	*d = Duration(v)
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the duration as the configuration writes it.
func (d Duration) String() string { return formatDuration(time.Duration(d)) }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *DurationOrNone) UnmarshalText(b []byte) error {
	if string(b) == "none" {
		*d = None
		return nil
	}
	v, err := parseDuration(string(b))
	if *d = DurationOrNone(v); v == 0 {
		*d = None
	}
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (d DurationOrNone) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String returns the duration as the configuration writes it.
func (d DurationOrNone) String() string {
	if d < 0 {
		return "none"
	}
	return formatDuration(time.Duration(d))
}

// parseDuration reads a duration that is not negative.
func parseDuration(s string) (time.Duration, error) {
	if !durationPattern.MatchString(s) {
		return 0, fmt.Errorf("%s is not a duration", quote(s))
	}
	var days time.Duration
	if n, rest, ok := strings.Cut(s, "d"); ok {
		h, err := time.ParseDuration(n + "h")
		if days = h * 24; err != nil || days/24 != h {
			return 0, errTooLong
		}
		if s = rest; s == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d > 1<<63-1-days {
		return 0, errTooLong
	}
	return days + d, nil
}

var errTooLong = errors.New("it is longer than 290 years")

// formatDuration writes what parseDuration reads, without units that are zero.
func formatDuration(d time.Duration) string {
	var b strings.Builder
	if n := d / day; n > 0 {
		fmt.Fprintf(&b, "%dd", n)
	}
	if rest := d % day; rest > 0 || d == 0 {
		s := rest.String()
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		b.WriteString(s)
	}
	return b.String()
}
