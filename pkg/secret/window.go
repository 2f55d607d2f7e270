package secret

import (
	"errors"
	"fmt"
	"time"

	"github.com/netresearch/go-cron"
)

// MaxWindow is the longest a rotation window may be open.
const MaxWindow = 7 * 24 * time.Hour

// ErrInvalidWindow is wrapped by the errors of [ParseWindow].
var ErrInvalidWindow = errors.New("invalid rotation window")

// Window is a recurring span of time: it opens whenever its cron expression
// says so in its time zone, and stays open for its duration. Make one with
// [ParseWindow].
type Window struct {
	cron     string
	zone     *time.Location
	schedule cron.Schedule
	duration time.Duration
}

// ParseWindow returns the window that opens at the times of a cron expression
// of five fields (minute, hour, day of month, month, day of week) in an IANA
// time zone ("" is UTC) and stays open for d, which is at most [MaxWindow].
// Where the clock goes forward over an opening, the window opens as the clock
// resumes; where it goes back over one, it opens once.
func ParseWindow(expr, zone string, d time.Duration) (Window, error) {
	if d <= 0 || d > MaxWindow {
		return Window{}, fmt.Errorf("%w: duration %s, want more than 0 and at most %s", ErrInvalidWindow, d, MaxWindow)
	}
	if zone == "" {
		zone = "UTC"
	}
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return Window{}, fmt.Errorf("%w: time zone %q is no IANA name such as Europe/Berlin", ErrInvalidWindow, zone)
	}
	parsed, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(expr)
	if err != nil {
		return Window{}, fmt.Errorf("%w: cron %q: %w", ErrInvalidWindow, expr, err)
	}
	w := Window{cron: expr, zone: loc, schedule: parsed, duration: d}
	if w.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return Window{}, fmt.Errorf("%w: cron %q never fires", ErrInvalidWindow, expr)
	}
	return w, nil
}

// String returns the window as a person would write it down.
func (w Window) String() string {
	return fmt.Sprintf("%s for %s (%s)", w.cron, w.duration, w.zone)
}

// Next returns the first opening after t, and the zero Time when there is none.
func (w Window) Next(t time.Time) time.Time { return w.schedule.Next(t.In(w.zone)) }

// Contains reports whether the window is open at t.
func (w Window) Contains(t time.Time) bool {
	open := w.Next(t.Add(-w.duration))
	return !open.IsZero() && !open.After(t)
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

// lastWindowed returns the latest moment that is neither after at nor before
// created and lies in a window: at itself, or else a moment in the last window
// that closes before it, frac of the way from its close to its opening. False
// when there is no such moment.
func lastWindowed(windows []Window, created, at time.Time, frac float64) (time.Time, bool) {
	var best time.Time
	for _, w := range windows {
		if w.Contains(at) {
			return at, true
		}
		open, ok := w.lastOpen(created, at)
		if !ok {
			continue
		}
		from, to := open, open.Add(w.duration-time.Second)
		if from.Before(created) {
			from = created
		}
		if t := to.Add(-time.Duration(frac * float64(to.Sub(from)))); t.After(best) && !t.Before(created) {
			best = t
		}
	}
	return best, !best.IsZero()
}

// lastOpen returns the last opening before at of a window that is still open at
// or after created. It looks back over spans that double, so that neither a
// window that opens every minute nor one that opens once a year costs much.
func (w Window) lastOpen(created, at time.Time) (time.Time, bool) {
	earliest := created.Add(-w.duration)
	for span := time.Hour; ; span *= 2 {
		from := at.Add(-span)
		if from.Before(earliest) {
			from = earliest
		}
		var last time.Time
		for t := w.Next(from); !t.IsZero() && t.Before(at); t = w.Next(t) {
			last = t
		}
		if !last.IsZero() {
			return last, true
		}
		if !from.After(earliest) {
			return time.Time{}, false
		}
	}
}
