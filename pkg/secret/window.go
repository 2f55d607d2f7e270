package secret

import (
	"errors"
	"fmt"
	"time"
)

// MaxWindow is the longest a rotation window may be open.
const MaxWindow = 7 * 24 * time.Hour

// ErrInvalidWindow is wrapped by the errors of [ParseWindow].
var ErrInvalidWindow = errors.New("invalid rotation window")

// Window is a recurring span of time: it opens whenever its cron expression
// says so in its time zone, and stays open for its duration, as a stopwatch
// measures it. Make one with [ParseWindow]; the zero Window never opens.
type Window struct {
	cron     string
	schedule schedule
	zone     *time.Location
	duration time.Duration
}

// ParseWindow returns the window that opens at the times of a cron expression
// of five fields (minute, hour, day of month, month, day of week) in an IANA
// time zone ("" is UTC) and stays open for d, which is at most [MaxWindow].
// With both days given, either is enough, unless one of the fields begins with a
// star, such as */2: then a day has to match both, as in crontab(5).
//
// Where the clock goes forward over an opening, the window opens as the clock
// resumes. Where it goes back over one, the window opens each time the clock
// shows it.
//
// The error wraps [ErrInvalidWindow], also for an expression that never fires.
func ParseWindow(expr, zone string, d time.Duration) (Window, error) {
	if d <= 0 || d > MaxWindow {
		return Window{}, fmt.Errorf("%w: duration %s, want more than 0 and at most %s", ErrInvalidWindow, d, MaxWindow)
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || loc == time.Local {
		return Window{}, fmt.Errorf("%w: time zone %q is no IANA name such as Europe/Berlin", ErrInvalidWindow, zone)
	}
	s, err := parseSchedule(expr)
	if err != nil {
		return Window{}, fmt.Errorf("%w: cron %q: %w", ErrInvalidWindow, expr, err)
	}
	return Window{cron: expr, schedule: s, zone: loc, duration: d}, nil
}

// String returns the window as a person would write it down.
func (w Window) String() string {
	return fmt.Sprintf("%s for %s (%s)", w.cron, w.duration, w.zone)
}

// Contains reports whether the window is open at t. It is at its opening and no
// longer at its close.
func (w Window) Contains(t time.Time) bool {
	open, ok := w.last(t)
	return ok && t.Sub(open) < w.duration
}

// Next returns the first opening after t, in the window's time zone, and the
// zero Time for the zero Window.
func (w Window) Next(t time.Time) time.Time {
	if w.duration == 0 {
		return time.Time{}
	}
	t = t.Round(0).In(w.zone) // openings are wall clock times
	clock := clockOf(t).Add(1)
	for {
		match, ok := w.schedule.atOrAfter(clock)
		if !ok {
			return time.Time{}
		}
		change := zoneEnd(t)
		open := t.Add(match.Sub(clockOf(t)))
		if change.IsZero() || open.Before(change) {
			return open
		}
		// The clock would have shown the match, had it not been changed.
		if clock = clockOf(change); match.Before(clock) {
			return change
		}
		t = change
	}
}

// last returns the last opening that is not after t, and false for the zero
// Window.
func (w Window) last(t time.Time) (time.Time, bool) {
	if w.duration == 0 {
		return time.Time{}, false
	}
	t = t.Round(0).In(w.zone) // openings are wall clock times
	for {
		match, ok := w.schedule.atOrBefore(clockOf(t))
		if !ok {
			return time.Time{}, false
		}
		change, _ := t.ZoneBounds()
		open := t.Add(match.Sub(clockOf(t)))
		if change.IsZero() || !open.Before(change) {
			return open, true
		}
		before := change.Add(-1)
		if match.After(clockOf(before)) {
			return change, true // the clock went forward over the match
		}
		t = before
	}
}

// zoneEnd returns a moment after t before which the offset of the zone stays as
// it is, the zero Time for ever. Beyond the years that a zone's table covers,
// ZoneBounds ends a leap year a day early, so that its end is not after t on
// 31 December.
func zoneEnd(t time.Time) time.Time {
	_, end := t.ZoneBounds()
	if !end.IsZero() && !end.After(t) {
		return end.Add(24 * time.Hour)
	}
	return end
}

// clockOf returns what a clock in the zone of t shows, as a time in UTC.
func clockOf(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// NextOpen returns t if one of the windows is open then, else the next opening
// of any; false when there is none.
func NextOpen(windows []Window, t time.Time) (time.Time, bool) {
	var first time.Time
	for _, w := range windows {
		if w.Contains(t) {
			return t, true
		}
		if open := w.Next(t); !open.IsZero() && (first.IsZero() || open.Before(first)) {
			first = open
		}
	}
	return first, !first.IsZero()
}

// lastWindowed returns a moment that is neither after at nor before created and
// lies in a window: at itself, or else one in the last window that closes
// before it, frac of the way from its close to its opening. False when there is
// no such moment.
func lastWindowed(windows []Window, created, at time.Time, frac float64) (time.Time, bool) {
	var best time.Time
	found := false
	for _, w := range windows {
		if t, ok := w.lastWithin(created, at, frac); ok && (!found || t.After(best)) {
			best, found = t, true
		}
	}
	return best, found
}

func (w Window) lastWithin(created, at time.Time, frac float64) (time.Time, bool) {
	open, ok := w.last(at)
	shut := open.Add(w.duration)
	switch {
	case !ok || !shut.After(created):
		return time.Time{}, false
	case shut.After(at):
		return at, true
	}
	from := latest(open, created)
	to := shut.Add(-time.Second)
	t := to.Add(-time.Duration(frac * float64(to.Sub(from)))).Truncate(time.Second)
	return latest(t, from), true
}

func latest(t, u time.Time) time.Time {
	if t.After(u) {
		return t
	}
	return u
}
