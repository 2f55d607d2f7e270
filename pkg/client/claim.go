package client

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tradepulse/rotator/pkg/client/internal/fence"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// claim is the right of this process to use one secret: its fence, and the record
// of the use that is on the bus. Its methods are safe for concurrent use, and none
// of them calls the bus or the store.
type claim struct {
	writing sync.Mutex // held while a record is written: one at a time

	mu    sync.Mutex // guards the fields below
	fence fence.Fence
	// changes counts what a new record has to say. A record that was built before
	// the last change does not cover it.
	changes uint64
	written events.Use // the last acknowledged record
	covers  uint64     // the value of changes that written covers
	stored  bool       // a record was acknowledged, and not lost since
	joined  bool       // see [events.Use]

	shown atomic.Pointer[fence.Fence] // a copy of fence for checks; never nil
}

// begin sets the length of the fence. It is called once, before the others.
func (c *claim) begin(length time.Duration) {
	c.update(func() { c.fence.Length = length })
}

// update changes the claim and shows the result to checks.
func (c *claim) update(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	shown := c.fence
	c.shown.Store(&shown)
}

// took notes that a version came into use, which the primary called current when it
// was asked at the given time. recorded says whether the use was on record then.
func (c *claim) took(v secret.VersionID, asked fence.Clock, recorded bool) {
	c.update(func() {
		c.fence.Switched(v)
		c.fence.Read(v, asked)
		c.joined = c.joined || recorded
		c.changes++
	})
}

// confirmed notes that the primary called v current when it was asked.
func (c *claim) confirmed(v secret.VersionID, asked fence.Clock) {
	c.update(func() { c.fence.Read(v, asked) })
}

// accepting notes that the process has begun to accept a version besides the one in
// use: call it after [entry.use] shows the version. If the one in use replaced it, since is when, or earlier; otherwise it is
// zero. It reports false, and notes nothing, if neither that nor a renewal confirms
// the version: the caller takes it back, because no proof would see it.
func (c *claim) accepting(since fence.Clock) (ok bool) {
	c.update(func() {
		now := readClock()
		next := c.fence
		if next.Loaded(); !next.OthersUsable(now) && since != (fence.Clock{}) {
			next = c.fence
			next.Replaced(since)
		}
		if ok = next.OthersUsable(now); ok {
			c.fence = next
			c.changes++
		}
	})
	return ok
}

// acceptingUnrecorded is accepting for a process whose use is not on record: only the
// floor confirms the version.
func (c *claim) acceptingUnrecorded(since fence.Clock) (ok bool) {
	c.update(func() {
		next := c.fence
		next.Replaced(since)
		if ok = next.OthersUsable(readClock()); ok {
			c.fence = next
			c.changes++
		}
	})
	return ok
}

// lapsed reports whether versions are accepted besides the one in use, and none of them
// may be used any more.
func (c *claim) lapsed() bool {
	f := c.shown.Load()
	return f.Accepts && !f.OthersUsable(readClock())
}

// dropped notes that no version but the one in use is accepted.
func (c *claim) dropped() {
	c.update(func() {
		c.fence.Dropped()
		c.changes++
	})
}

// changed notes that the next record says something else.
func (c *claim) changed() { c.update(func() { c.changes++ }) }

// version returns the number of the last change.
func (c *claim) version() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes
}

// sole notes that no version but the one in use is accepted, as of a change.
func (c *claim) sole(changes uint64) {
	c.update(func() {
		if changes == c.changes {
			c.fence.Dropped()
		}
	})
}

// lost notes that the records are gone from the bus.
func (c *claim) lost() {
	c.update(func() {
		c.fence.Refused()
		c.stored = false
		c.changes++
	})
}

// presence notes that a presence was stored that replaces none.
func (c *claim) presence(sent fence.Clock) {
	c.update(func() {
		c.fence.Joined(sent)
		c.stored = false
		c.changes++
	})
}

// renewed notes a renewal that was sent at one time and acknowledged at another.
func (c *claim) renewed(sent, now fence.Clock) {
	c.update(func() { c.fence.Renewed(sent, now) })
}

// end takes the right away for good: the process is about to say that it has ended.
func (c *claim) end() { c.update(func() { c.fence = fence.Fence{} }) }

// recorded reports whether a record of the use is on the bus.
func (c *claim) recorded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stored
}

// pending completes u, which covers the given changes, and reports whether it has to
// be written.
func (c *claim) pending(u *events.Use, changes uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	u.Joined = c.joined || u.VersionID == ""
	same := c.stored && c.covers == changes && c.written.Running == u.Running && c.written.Joined == u.Joined &&
		(c.written.Accepts == nil) == (u.Accepts == nil) && slices.Equal(c.written.Accepts, u.Accepts) &&
		slices.Equal(c.written.RetiredUses, u.RetiredUses)
	return !same
}

// acknowledged notes that u is on the bus. A record that does not cover the last
// change confirms nothing; another one follows.
func (c *claim) acknowledged(u events.Use, changes uint64) {
	c.update(func() {
		c.written, c.covers, c.stored = u, changes, true
		if changes == c.changes {
			c.fence.Acknowledged(u.VersionID)
		}
	})
}

// usable reports whether the version in use may be used now.
func (c *claim) usable() bool { return c.shown.Load().Usable(readClock()) }

// othersUsable reports whether versions that are accepted besides the one in use may
// be accepted now.
func (c *claim) othersUsable() bool { return c.shown.Load().OthersUsable(readClock()) }

// since returns when the version in use was confirmed last, zero for never.
func (c *claim) since() time.Time { return c.shown.Load().Confirmed.Wall }
