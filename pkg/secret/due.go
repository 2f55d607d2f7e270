package secret

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

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
