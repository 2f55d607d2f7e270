package secret

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// Due is the moment that [Spec.RotateAt] returns, and what it is made of:
// At = End − Margin − Jitter − Window.
type Due struct {
	// At is zero for a version that is never due.
	At time.Time
	// End is when the version ends.
	End time.Time
	// Margin is the refresh margin, at most the whole life of the version.
	Margin time.Duration
	// Jitter is the share of the secret in the jitter.
	Jitter time.Duration
	// Window is how much earlier the last window before End − Margin − Jitter is.
	Window time.Duration
}

// Due says when the current version counts as near expiry, and why then. Its error is
// that of [Spec.RotateAt].
func (s Spec) Due(m Metadata) (Due, error) {
	cur := m.Current()
	end := s.NotAfter(m, cur)
	if cur.ID == "" || end.IsZero() {
		return Due{}, nil
	}
	due := end.Add(-s.Margin())
	if due.Before(cur.CreatedAt) {
		due = cur.CreatedAt
	}
	frac := Spread(s.ID, string(cur.ID))
	free := due.Sub(cur.CreatedAt)
	d := Due{End: end, Margin: end.Sub(due), Jitter: time.Duration(frac * float64(min(orDefault(s.MaxJitter, free/10), free)))}
	d.At = due.Add(-d.Jitter)
	if len(s.Windows) == 0 {
		return d, nil
	}
	in, ok := lastWindowed(s.Windows, cur.CreatedAt, d.At, frac)
	if !ok {
		return d, fmt.Errorf("%w: %s expires at %s", ErrNoWindow, s.ID, end.UTC().Format(time.RFC3339))
	}
	d.Window, d.At = d.At.Sub(in), in
	return d, nil
}

// DueAt returns the moment from which a rotation of the current version may
// start, as seen at now. That is [Spec.RotateAt] until it has passed. When it
// passed outside every rotation window, because no program was running, it is
// the next opening, unless the version would end before that:
// then a window is worth less than a working secret and it is RotateAt, at
// once. The zero Time and the error mean what they mean there.
func (s Spec) DueAt(m Metadata, now time.Time) (time.Time, error) {
	at, err := s.RotateAt(m)
	if err != nil || at.IsZero() || len(s.Windows) == 0 || !now.After(at) {
		return at, err
	}
	open, ok := NextOpen(s.Windows, now)
	if end := s.NotAfter(m, m.Current()); !ok || !open.Before(end) {
		return at, nil
	}
	return open, nil
}

// Spread returns a number in [0, 1) that depends on id and salt only. It keeps
// things apart that would happen together, and every process computes the same.
func Spread(id ID, salt string) float64 {
	h := sha256.Sum256([]byte("rotator/jitter/v1\x00" + string(id) + "\x00" + salt))
	return float64(binary.BigEndian.Uint64(h[:8])>>11) / (1 << 53)
}
