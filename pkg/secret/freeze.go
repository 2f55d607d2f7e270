package secret

import (
	"fmt"
	"slices"
	"time"
)

// Freeze is a time in which scheduled rotations wait: From until To, or whenever Window
// is open. Do not change one that is in use.
type Freeze struct {
	// Reason is what people are told.
	Reason string
	// From and To are the span of a freeze that does not recur. At To it is over.
	From, To time.Time
	// Window is when a recurring freeze is in force.
	Window Window
	// Services, Stores, Secrets and Tags select secrets: those of one of the services, in
	// one of the stores, with one of the ids, and with all of the tags, of which one
	// without a value matches any. What is empty selects all.
	Services, Stores []string
	Secrets          []ID
	Tags             map[string]string
}

// Covers reports whether the freeze is about a secret, of which the store says m.
func (f *Freeze) Covers(s Spec, m Metadata) bool {
	for key, want := range f.Tags {
		if got, ok := m.Attributes[key]; !ok || want != "" && got != want {
			return false
		}
	}
	return (len(f.Services) == 0 || slices.ContainsFunc(s.Services, func(name string) bool { return slices.Contains(f.Services, name) })) &&
		(len(f.Stores) == 0 || slices.Contains(f.Stores, s.Store)) &&
		(len(f.Secrets) == 0 || slices.Contains(f.Secrets, s.ID))
}

// Ends returns when the freeze ends that is in force at t, and false for none.
func (f *Freeze) Ends(t time.Time) (time.Time, bool) {
	if !f.To.IsZero() && !t.Before(f.From) && t.Before(f.To) {
		return f.To, true
	}
	if open, ok := f.Window.last(t); ok && t.Sub(open) < f.Window.duration {
		return open.Add(f.Window.duration), true
	}
	return time.Time{}, false
}

// String says when the freeze is in force.
func (f *Freeze) String() string {
	if !f.To.IsZero() {
		return fmt.Sprintf("from %s to %s", f.From.UTC().Format(time.RFC3339), f.To.UTC().Format(time.RFC3339))
	}
	return f.Window.String()
}

// maxThaws bounds how many freezes in a row [Spec.Thaw] goes through.
const maxThaws = 1000

// Thaw returns the first moment from t on at which no freeze holds a scheduled rotation of
// the secret, and the freeze that is in force at t, nil for none. Of several that is the
// one that ends last.
func (s Spec) Thaw(m Metadata, t time.Time) (time.Time, *Freeze) {
	var held *Freeze
	for n := range maxThaws {
		end, f := s.frozen(m, t)
		if f == nil {
			break
		}
		if n == 0 {
			held = f
		}
		t = end
	}
	return t, held
}

// frozen returns the freeze in force at t that ends last, and when it ends.
func (s Spec) frozen(m Metadata, t time.Time) (time.Time, *Freeze) {
	var last time.Time
	var held *Freeze
	for _, f := range s.Freezes {
		if end, ok := f.Ends(t); ok && end.After(last) && f.Covers(s, m) {
			last, held = end, f
		}
	}
	return last, held
}

// Start returns when a scheduled rotation that may start from t on does: as soon as no
// freeze holds it and, as long as the version lives, a rotation window is open. The freeze
// is that at t.
func (s Spec) Start(m Metadata, t time.Time) (time.Time, *Freeze) {
	start, held := s.Thaw(m, t)
	end := s.NotAfter(m, m.Current())
	for range maxThaws {
		if held == nil || len(s.Windows) == 0 {
			break
		}
		open, ok := NextOpen(s.Windows, start)
		if !ok || !open.Before(end) || open.Equal(start) {
			break
		}
		start, _ = s.Thaw(m, open)
	}
	return start, held
}
