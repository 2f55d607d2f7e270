package secret

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// DurationPattern is the regular expression of what [ParseDuration] reads.
const DurationPattern = `([0-9]+(\.[0-9]+)?d|([0-9]+(\.[0-9]+)?d)?([0-9]+(\.[0-9]+)?(h|m|s|ms|us|µs|ns))+)`

const day = 24 * time.Hour

var (
	durationPattern = regexp.MustCompile("^" + DurationPattern + "$")
	errTooLong      = errors.New("it is longer than 290 years")
)

// ParseDuration reads a duration as people write it in a configuration or a
// tag: what [time.ParseDuration] reads and is not negative, with d for days of
// 24 hours in front, such as 30d, 1d12h or 90s.
func ParseDuration(s string) (time.Duration, error) {
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

// FormatDuration writes what [ParseDuration] reads, without units that are zero.
func FormatDuration(d time.Duration) string {
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

// quote returns s in quotes, shortened.
func quote(s string) string {
	const most = 48
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(strings.ToValidUTF8(s[:most], "")) + "…"
}
