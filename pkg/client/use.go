package client

import (
	"context"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// recordTimeout bounds the write of one record.
	recordTimeout = 5 * time.Second
	// maxAccepted is how many versions a record lists besides the one in use. With
	// more of them it says that any version is accepted.
	maxAccepted = 16
)

// use returns the record of what this process does with the secret now.
func (e *entry) use() events.Use {
	u := events.Use{
		Running: events.Running{SecretID: e.id}, Accepts: e.accepted(), PastFence: events.PastFenceServe, Fence: wholeSeconds(e.fence),
		Service: e.m.cfg.Service, Instance: e.m.cfg.Instance, Incarnation: e.m.incarnation, RetiredUses: e.trips.record(time.Now()),
	}
	if s := e.status.Load(); s != nil {
		u.Running = *s
	}
	if e.checked {
		u.PastFence = events.PastFenceRefuse
	}
	u.Accepts = slices.DeleteFunc(u.Accepts, func(v secret.VersionID) bool { return v == u.VersionID || v == "" })
	if len(u.Accepts) > maxAccepted {
		u.Accepts = nil
	}
	return u
}

// accepted returns the versions that the process uses in some way, the one in use
// among them: what acceptors accept, what hooks hold or may still take, and what is
// offered to them.
func (e *entry) accepted() []secret.VersionID {
	e.mu.Lock()
	out, acceptors := []secret.VersionID{e.offering}, e.acceptors
	for _, s := range e.hooks {
		out = append(out, s.holds)
		if s.late != nil {
			out = append(out, s.late.version)
		}
	}
	e.mu.Unlock()
	for _, a := range acceptors {
		out = append(out, a.accepts()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// record writes the record of the use, unless the last one says the same, and waits
// until it is acknowledged. The report loop and a reload may call it at a time; one
// record is written after the other, so that the last one says what is true.
func (e *entry) record(ctx context.Context) error {
	e.claim.writing.Lock()
	defer e.claim.writing.Unlock()
	if e.gone {
		return nil
	}
	changes := e.claim.version() // before what follows is looked at
	u := e.use()
	if len(u.Accepts) == 0 && u.Accepts != nil {
		e.claim.sole(changes)
	}
	if !e.claim.pending(&u, changes) {
		return nil
	}
	if err := e.m.write(ctx, u); err != nil {
		return err
	}
	e.claim.acknowledged(u, changes)
	return nil
}

// recordNow puts on record what the process does now, and reports whether it is
// stored. A process that has not joined does not wait for the bus.
func (e *entry) recordNow(ctx context.Context) bool {
	if !e.m.connected() || !e.claim.recorded() {
		return false
	}
	if err := e.record(ctx); err != nil {
		reportFailed(ctx, e.logger(), err)
		return false
	}
	return true
}

// write stores the record of a use. A bus that panics has failed.
func (m *Manager) write(ctx context.Context, u events.Use) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = m.panicked(ctx, "bus", p, attrLogID(u.SecretID))
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	return m.cfg.Bus.WriteUse(ctx, u)
}

// offers puts on record that a version is offered to the hooks, so that a process
// that is paused between a commit and the next record is known to hold it. It goes
// on without a bus. The returned function ends it.
func (e *entry) offers(ctx context.Context, v secret.VersionID) (end func()) {
	e.offered(v)
	e.recordNow(ctx)
	return func() {
		e.offered("")
		e.m.renew()
	}
}

func (e *entry) offered(v secret.VersionID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.offering = v
}

// attach adds an acceptor. The returned function takes it away.
func (e *entry) attach(a acceptor) (detach func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.acceptors = append(slices.Clone(e.acceptors), a)
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.acceptors = slices.DeleteFunc(slices.Clone(e.acceptors), func(b acceptor) bool { return b == a })
		e.m.renew()
	}
}

// drop ends the acceptance of every version but v, the one in use and the one that
// is offered or staged.
func (e *entry) drop(v secret.VersionID) {
	e.mu.Lock()
	e.keep = v
	acceptors := e.acceptors
	e.mu.Unlock()
	for _, a := range acceptors {
		a.drop(e.kept, true)
	}
	e.claim.changed()
	e.m.renew()
}

// lapse ends the acceptance of versions besides the one in use that nothing confirms
// any more. It comes before another one is accepted: they share one confirmation, the
// oldest of theirs.
func (e *entry) lapse() {
	if !e.claim.lapsed() {
		return
	}
	inUse := e.current.Load().Version.ID
	e.mu.Lock()
	acceptors := e.acceptors
	e.mu.Unlock()
	for _, a := range acceptors {
		a.drop(func(v secret.VersionID) bool { return v == inUse }, false)
	}
	e.claim.dropped()
	e.m.renew()
}

// kept reports whether the last drop left a version.
func (e *entry) kept(v secret.VersionID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return v == e.keep || v == e.state.Version || v == e.offering || v == e.state.Offered()
}

// drained reports whether every version before the one in use was dropped.
func (e *entry) drained() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keep != "" && e.keep == e.state.Version
}
