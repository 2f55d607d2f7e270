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
	// State changes by the methods only; it is exported for the model of the proof.
	State
}

// State is what a Fence remembers. A zero Clock means never.
type State struct {
	// InUse is the version in use, "" for none.
	InUse secret.VersionID
	// Recorded is true if a use record was acknowledged since the join and since the
	// last change; Record is the version that it names.
	Recorded bool
	Record   secret.VersionID
	// Accepts is true if the process accepts versions besides the one in use.
	Accepts bool
	// Confirmed, Others and Presence are the times before the acts that last
	// confirmed the version in use, the versions accepted besides it, and the
	// presence of the process were sent.
	Confirmed, Others, Presence Clock
}

// Version returns the version in use, "" for none.
func (f *Fence) Version() secret.VersionID { return f.InUse }

// Joined takes note that a presence was stored that replaces none: the first one,
// or one after a renewal was refused. Every use record that was written before it
// may have been lost, so the caller writes all of them again, after this call.
func (f *Fence) Joined(sent Clock) {
	f.Presence, f.Recorded = sent, false
}

// Acknowledged takes note that a use record is stored that names v as the version
// in use, and every version that the process accepts besides. The caller writes one
// record at a time.
func (f *Fence) Acknowledged(v secret.VersionID) {
	f.Record, f.Recorded = v, true
}

// Renewed takes note that a renewal sent at one time was acknowledged at another.
// It extends a confirmation that has not run out when the acknowledgement arrives,
// and only while the record names exactly the version in use. A renewal may be
// delayed on its way for longer than the fence: it then confirms nothing.
func (f *Fence) Renewed(sent, now Clock) {
	f.Presence = sent
	if !f.Recorded || f.Record != f.InUse {
		return
	}
	if f.Usable(now) && sent.Since(f.Confirmed) > 0 {
		f.Confirmed = sent
	}
	if f.OthersUsable(now) && sent.Since(f.Others) > 0 {
		f.Others = sent
	}
}

// Refused takes note that the bus does not have the presence that a renewal
// replaces: it was lost or removed, and every use record with it. The process joins
// again.
func (f *Fence) Refused() { f.Recorded = false }

// Read takes note that the primary of the store, asked at the given time, called a
// version current. An answer of a replica, a standby or a cache must not be passed.
// If a hook of the process refuses that version, it is not in use, and nothing is
// confirmed.
func (f *Fence) Read(current secret.VersionID, sent Clock) {
	if current == f.InUse && current != "" && (f.Confirmed == Clock{} || sent.Since(f.Confirmed) > 0) {
		f.Confirmed = sent
	}
}

// Switched takes note that every user in the process took v into use and none uses
// the version before, except to accept it: call it before the record of v is
// written. v is not confirmed: [Fence.Read] does that with the read that named it.
func (f *Fence) Switched(v secret.VersionID) {
	if v == f.InUse {
		return
	}
	if f.InUse != "" {
		f.accept(f.Confirmed)
	}
	f.InUse, f.Confirmed, f.Recorded = v, Clock{}, false
}

// Loaded takes note that the process began to accept versions that it read from the
// store besides the one in use. They count as confirmed by the last renewal, since
// the store does not call them current, and by nothing before a use record was
// acknowledged. Call it before [Fence.Switched] takes the first version into use.
func (f *Fence) Loaded() {
	if f.Recorded {
		f.accept(f.Presence)
	} else {
		f.accept(Clock{})
	}
	f.Recorded = f.Recorded && f.Record == ""
}

// accept notes that one more version is accepted, which was confirmed last at c.
func (f *Fence) accept(c Clock) {
	if !f.Accepts || c == (Clock{}) || f.Others.Since(c) > 0 {
		f.Others = c
	}
	f.Accepts = true
}

// Dropped takes note that no version but the one in use is accepted any more.
func (f *Fence) Dropped() { f.Accepts, f.Others = false, Clock{} }

// Usable reports whether the version in use may be used now.
func (f *Fence) Usable(now Clock) bool {
	return f.InUse != "" && f.Confirmed != Clock{} && now.Since(f.Confirmed) < f.Length
}

// OthersUsable reports whether the versions that are accepted besides the one in use
// may be used now. They have a confirmation of their own: a read says which version
// is current, and nothing of those before. Once it has run out they have to be
// dropped.
func (f *Fence) OthersUsable(now Clock) bool {
	return f.Accepts && f.Others != Clock{} && now.Since(f.Others) < f.Length
}
