package secret

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxWindows bounds the windows of one text.
const maxWindows = 16

// ParseWindows reads windows in the form that fits into the tag of a store,
// where neither '*' nor ',' may stand:
//
//	03:00 2h
//	Sat Sun 01:00 6h Europe/Vienna
//	Mon-Fri 03:00 2h + Sat 01:00 12h
//
// That is, for each window: the days on which it opens, every day without any;
// when; for how long, as [ParseDuration] reads it; the IANA name of the time
// zone, UTC without one. Windows are separated by " + ". The error wraps
// [ErrInvalidWindow].
func ParseWindows(text string) ([]Window, error) {
	parts := strings.Split(text, " + ")
	if len(parts) > maxWindows {
		return nil, fmt.Errorf("%w: %d windows, the most is %d", ErrInvalidWindow, len(parts), maxWindows)
	}
	out := make([]Window, 0, len(parts))
	for _, part := range parts {
		w, err := parseWindowText(part)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

func parseWindowText(text string) (Window, error) {
	words := strings.Split(text, " ")
	at := slices.IndexFunc(words, func(s string) bool { return strings.Contains(s, ":") })
	if at < 0 || len(words)-at < 2 || len(words)-at > 3 {
		return Window{}, fmt.Errorf("%w: %s is not of the form: Mon-Fri 03:00 2h Europe/Vienna", ErrInvalidWindow, quote(text))
	}
	days, err := daysOf(words[:at])
	if err != nil {
		return Window{}, err
	}
	clock, err := time.Parse("15:04", words[at])
	if err != nil || len(words[at]) != len("15:04") {
		return Window{}, fmt.Errorf("%w: %s is not a time such as 03:00", ErrInvalidWindow, quote(words[at]))
	}
	d, err := ParseDuration(words[at+1])
	if err != nil {
		return Window{}, fmt.Errorf("%w: %w", ErrInvalidWindow, err)
	}
	zone := strings.Join(words[at+2:], "")
	return ParseWindow(fmt.Sprintf("%d %d * * %s", clock.Minute(), clock.Hour(), days), zone, d)
}

// weekdays are the days in the order of a week that begins on Monday.
var weekdays = []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// daysOf returns the day-of-week field of a cron expression.
func daysOf(words []string) (string, error) {
	if len(words) == 0 {
		return "*", nil
	}
	var out []string
	for _, word := range words {
		first, last, isRange := strings.Cut(word, "-")
		from, to := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if !isRange {
			to = from
		}
		if from < 0 || to < from {
			return "", fmt.Errorf("%w: %s is neither a day such as Sat nor days such as Mon-Fri", ErrInvalidWindow, quote(word))
		}
		for d := from; d <= to; d++ {
			out = append(out, strconv.Itoa((d+1)%len(weekdays)))
		}
	}
	return strings.Join(out, ","), nil
}
