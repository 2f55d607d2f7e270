// Package fence decides whether a process may still use a version of a secret
// that it could not confirm for a while.
//
// A [Fence] is kept per secret. The process tells it what it did: it joined the
// bus, stored the record of its use, renewed its presence, read the primary of the
// store. Before each use it asks [Fence.Usable]. The server counts the same fence
// from the time at which it stored the last renewal, so it never ends there before
// it ends here (pkg/rollout).
//
// The package is pure: it reads no clock and talks to no bus and no store. A Fence
// is not safe for concurrent use.
package fence

import (
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Clock is one reading of the two clocks of a machine. The zero value is a reading
// that never happened.
type Clock struct {
	// Boot is the time since the machine booted, suspended or not.
	Boot time.Duration
	// Wall is the time of day.
	Wall time.Time
}

// Since returns how long ago e was read: what the clock that ran further says. A
// suspended machine stops the one, a clock that is set back the other.
func (c Clock) Since(e Clock) time.Duration { return max(c.Boot-e.Boot, c.Wall.Sub(e.Wall)) }

// Fence is what one process knows of its right to use one secret. The zero value
// with a Length is that of a process that has not begun.
type Fence struct {
	// Length is how long a version may be used without being confirmed.
	Length time.Duration

	version  secret.VersionID // in use, "" for none
	recorded bool             // a use record was acknowledged since the join and the last change
	record   secret.VersionID // the version that it names
	accepts  bool             // the process accepts versions besides the one in use
	// The times before the acts that confirmed last were sent: the version in use,
	// the versions accepted besides it, and the presence.
	confirmed, others, renewed Clock
}

// Version returns the version in use, "" for none.
func (f *Fence) Version() secret.VersionID { return f.version }

// Joined takes note that a presence was stored that replaces none: the first one,
// or one after a renewal was refused. Every use record that was written before it
// may have been lost, so the caller writes all of them again, after this call.
func (f *Fence) Joined(sent Clock) {
	f.renewed, f.recorded = sent, false
}

// Acknowledged takes note that a use record is stored that names v as the version
// in use, and every version that the process accepts besides. The caller writes one
// record at a time.
func (f *Fence) Acknowledged(v secret.VersionID) {
	f.record, f.recorded = v, true
}

// Renewed takes note that a renewal sent at one time was acknowledged at another.
// It extends a confirmation that has not run out when the acknowledgement arrives,
// and only while the record names exactly the version in use. A renewal may be
// delayed on its way for longer than the fence: it then confirms nothing.
func (f *Fence) Renewed(sent, now Clock) {
	f.renewed = sent
	if !f.recorded || f.record != f.version {
		return
	}
	if f.Usable(now) && sent.Since(f.confirmed) > 0 {
		f.confirmed = sent
	}
	if f.OthersUsable(now) && sent.Since(f.others) > 0 {
		f.others = sent
	}
}

// Refused takes note that the bus does not have the presence that a renewal
// replaces: it was lost or removed, and every use record with it. The process joins
// again.
func (f *Fence) Refused() { f.recorded = false }

// Read takes note that the primary of the store, asked at the given time, called a
// version current. An answer of a replica, a standby or a cache must not be passed.
// If a hook of the process refuses that version, it is not in use, and nothing is
// confirmed.
func (f *Fence) Read(current secret.VersionID, sent Clock) {
	if current == f.version && current != "" && (f.confirmed == Clock{} || sent.Since(f.confirmed) > 0) {
		f.confirmed = sent
	}
}

// Switched takes note that every user in the process took v into use and none uses
// the version before, except to accept it: call it before the record of v is
// written. v is not confirmed: [Fence.Read] does that with the read that named it.
func (f *Fence) Switched(v secret.VersionID) {
	if v == f.version {
		return
	}
	if f.version != "" {
		f.accept(f.confirmed)
	}
	f.version, f.confirmed, f.recorded = v, Clock{}, false
}

// Loaded takes note that the process began to accept versions that it read from the
// store besides the one in use. They count as confirmed by the last renewal, since
// the store does not call them current, and by nothing before a use record was
// acknowledged.
func (f *Fence) Loaded() {
	if f.recorded {
		f.accept(f.renewed)
	} else {
		f.accept(Clock{})
	}
	f.recorded = f.recorded && f.record == ""
}

// accept notes that one more version is accepted, which was confirmed last at c.
func (f *Fence) accept(c Clock) {
	if !f.accepts || c == (Clock{}) || f.others.Since(c) > 0 {
		f.others = c
	}
	f.accepts = true
}

// Dropped takes note that no version but the one in use is accepted any more.
func (f *Fence) Dropped() { f.accepts, f.others = false, Clock{} }

// Usable reports whether the version in use may be used now.
func (f *Fence) Usable(now Clock) bool {
	return f.version != "" && f.confirmed != Clock{} && now.Since(f.confirmed) < f.Length
}

// OthersUsable reports whether the versions that are accepted besides the one in use
// may be used now. They have a confirmation of their own: a read says which version
// is current, and nothing of those before. Once it has run out they have to be
// dropped.
func (f *Fence) OthersUsable(now Clock) bool {
	return f.accepts && f.others != Clock{} && now.Since(f.others) < f.Length
}
