package config

import (
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// window returns the window as the rules of rotation know it.
func (w Window) window() (secret.Window, error) {
	return secret.ParseWindow(w.Cron, w.Zone, time.Duration(w.Duration))
}

func (k *checker) window(at []string, w Window) {
	if w.Cron == "" || w.Duration == 0 {
		return // the schema has said so
	}
	if _, err := w.window(); err != nil {
		k.report(at, plain(err, secret.ErrInvalidWindow), "see the reference for what a window can be")
	}
}

// reachable reports a secret whose versions can reach their end without a
// window on the way.
func (k *checker) reachable(at []string, s Secret, windows []secret.Window) {
	if s.TTL <= 0 || len(windows) == 0 {
		return
	}
	name := fmt.Sprint(s.Windows)
	gap, ok := k.gaps[name]
	if !ok {
		gap = longestGap(s.Windows, windows)
		k.gaps[name] = gap
	}
	if lives := time.Duration(s.TTL - max(0, s.RefreshMargin)); gap > lives {
		k.report(append(at, "windows"), fmt.Sprintf("up to %s pass between two windows, and a version is due %s after it was made", secret.FormatDuration(gap), secret.FormatDuration(lives)),
			"open a window more often, or raise ttl")
	}
}

// How far longestGap looks: a year of days, or a day and more of minutes.
const (
	maxOpenings = 2000
	maxSpan     = 400 * day
)

// longestGap returns the longest time in which none of the windows is open. It
// looks at a year that has passed, so that the answer never changes.
func longestGap(windows []Window, parsed []secret.Window) time.Duration {
	start := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	at, closed, longest := start, time.Time{}, time.Duration(0)
	for range maxOpenings {
		var open, shut time.Time
		for i, w := range parsed {
			if next := w.Next(at); !next.IsZero() && (open.IsZero() || next.Before(open)) {
				open, shut = next, next.Add(time.Duration(windows[i].Duration))
			}
		}
		if open.IsZero() || open.Sub(start) > maxSpan {
			break
		}
		if !closed.IsZero() {
			longest = max(longest, open.Sub(closed))
		}
		if at = open; shut.After(closed) {
			closed = shut
		}
	}
	return longest
}
