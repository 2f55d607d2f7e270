package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tradepulse/rotator/internal/process"
	"github.com/tradepulse/rotator/pkg/events"
)

const (
	// coalesce is how long changes are gathered before they are put on record.
	coalesce = 10 * time.Millisecond
	// joinWait is how long a start waits for the records of secrets that are not
	// checked at use, unless [Config.Join] says otherwise.
	joinWait = time.Minute
	// joinPause is the pause between two tries to join.
	joinPause = 200 * time.Millisecond
	// leastRenewal is the shortest time between two renewals, however short a fence
	// is.
	leastRenewal = 100 * time.Millisecond
)

// JoinRequired is the value of [Config.Join] that makes a start wait for the bus.
const JoinRequired = "required"

// presence is what is known of the presence of this process on the bus. Only one
// goroutine at a time uses it: New, then the report loop, then Close.
type presence struct {
	process *events.Process
	joined  bool   // seq is that of our last presence
	seq     uint64 // of the last acknowledged presence
	sent    bool   // one was sent at least; it may be stored without an acknowledgement
}

// newIncarnation returns a name that no other process has.
func newIncarnation() string { return strings.ToLower(rand.Text()) }

// newPresence returns the presence of this process, which has not joined.
func newPresence() presence {
	self, _ := process.Of(os.Getpid()) // nil where it cannot be known
	return presence{process: self}
}

// connected reports whether the bus can be reached, as far as it can tell.
func (m *Manager) connected() bool {
	bus, ok := m.cfg.Bus.(interface{ Connected() bool })
	return m.cfg.Bus != nil && (!ok || bus.Connected())
}

// join puts this process and the use of every secret on record before the first
// secret is read. A proof that begins afterwards sees them.
//
// It waits as long as [Config.Join] says if a secret is not checked at use. Then
// it lets the process start all the same, because the bus must not become a
// condition of every start.
func (m *Manager) join(ctx context.Context) error {
	if m.cfg.Bus == nil {
		return nil
	}
	wait := m.joinWait()
	begin := time.Now()
	for {
		err := m.present(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("client: join the bus: %w", err)
		}
		if wait >= 0 && time.Since(begin) >= wait {
			m.log.LogAttrs(ctx, slog.LevelError, "secret.not_joined", slog.String("service", m.cfg.Service), slog.String("error", err.Error()),
				slog.String("message", "this process starts without being on record: a rotation cannot see which versions it uses"))
			return nil
		}
		pause(ctx, joinPause)
	}
}

// joinWait returns how long a start waits for the bus, negative for without limit.
func (m *Manager) joinWait() time.Duration {
	switch {
	case len(m.cfg.CheckedAtUse) == len(m.cfg.IDs):
		return 0
	case m.cfg.Join == JoinRequired:
		return -1
	}
	return joinWait
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// present joins if that is necessary, writes every record that says something new,
// and renews the presence.
//
// Uses are written before the renewal, which then confirms the versions that they
// name. A presence that replaces none comes before the uses: if the stream is lost in
// between, the next renewal fails and shows it.
func (m *Manager) present(ctx context.Context) error {
	if !m.connected() {
		return errors.New("the bus cannot be reached")
	}
	if !m.presence.joined {
		if err := m.enter(ctx); err != nil {
			return err
		}
		return m.recordAll(ctx)
	}
	if err := m.recordAll(ctx); err != nil {
		return err
	}
	sent := readClock()
	seq, err := m.put(ctx, false)
	if errors.Is(err, events.ErrConflict) {
		m.presence.joined = false
		m.all((*claim).lost)
		m.log.LogAttrs(ctx, slog.LevelWarn, "secret.records_lost", slog.String("service", m.cfg.Service), slog.String("instance", m.cfg.Instance),
			slog.String("message", "the bus does not have the records of this process any more: it joins again"))
		if err := m.present(ctx); err != nil {
			return err
		}
		m.poll(m.members.Load().ids) // a version may have been retired while the records were gone
		return nil
	}
	if err != nil {
		return err
	}
	m.presence.seq = seq
	acked := readClock()
	m.all(func(c *claim) { c.renewed(sent, acked) })
	return nil
}

// enter stores the first presence, or the first after the records were lost.
func (m *Manager) enter(ctx context.Context) error {
	sent := readClock()
	seq, err := m.put(ctx, false)
	if err != nil {
		return err
	}
	m.presence.joined, m.presence.seq = true, seq
	m.all(func(c *claim) { c.presence(sent) })
	return nil
}

// put stores the presence, in place of our last one if there is one. A bus that
// panics has failed.
func (m *Manager) put(ctx context.Context, ended bool) (seq uint64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = m.panicked(ctx, "bus", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	p := events.Presence{
		Service: m.cfg.Service, Instance: m.cfg.Instance, Incarnation: m.incarnation, StartedAt: m.started, At: time.Now(),
		Lease: wholeSeconds(m.cfg.Lease), Fleet: m.cfg.Fleet, Process: m.presence.process, Ended: ended,
	}
	if m.presence.sent = true; m.presence.joined {
		return m.cfg.Bus.Renew(ctx, p, m.presence.seq)
	}
	return m.cfg.Bus.Join(ctx, p)
}

// recordAll writes the records that say something new, some at a time.
func (m *Manager) recordAll(ctx context.Context) error {
	var mu sync.Mutex
	var errs []error
	m.each(func(e *entry) {
		if err := e.record(ctx); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		}
	})
	if len(errs) == 0 {
		return m.recordEnds(ctx)
	}
	return errs[0] // the others have the same cause, mostly
}

// all calls f with every claim.
func (m *Manager) all(f func(*claim)) {
	for _, e := range m.entries() {
		f(&e.claim)
	}
}

// renew asks for a renewal soon. It does not block; changes within coalesce share
// one.
func (m *Manager) renew() {
	select {
	case m.dirty <- struct{}{}:
	default:
	}
}

// renewal returns the time between two renewals: one that is lost ends neither the
// lease nor the shortest fence, which only renewals extend for what a process
// accepts besides the version in use.
func (m *Manager) renewal() time.Duration {
	shortest := m.cfg.Lease
	for _, e := range m.entries() {
		shortest = min(shortest, e.fence)
	}
	return max(shortest/3, leastRenewal)
}

// report keeps the records and the presence of this process on the bus: after each
// change, and as often as renewal says. What fails is logged and tried again then.
func (m *Manager) report() {
	every := time.NewTimer(m.renewal())
	defer every.Stop()
	for {
		select {
		case <-m.work.Done():
			return
		case <-m.dirty:
			pause(m.work, coalesce)
		case <-every.C:
		}
		every.Reset(m.renewal())
		if err := m.present(m.work); err != nil && m.work.Err() == nil {
			reportFailed(m.work, m.log, err)
		}
	}
}

// reportFailed logs that a record of this process is not on the bus.
func reportFailed(ctx context.Context, log *slog.Logger, err error) {
	log.LogAttrs(ctx, slog.LevelWarn, "secret.report", slog.String("error", "NATS did not store the record of this process: "+err.Error()),
		slog.String("remedy", "check the connection to NATS; it is tried again"))
}

// leave says that this process has ended, and ends the use of every version: users
// that check refuse from here on. The presence on record may be one that was not
// acknowledged, such as one that Close interrupted: it is replaced, too.
func (m *Manager) leave(ctx context.Context) error {
	m.all((*claim).end)
	if !m.presence.sent || !m.connected() {
		return nil
	}
	_, err := m.put(ctx, true)
	if errors.Is(err, events.ErrConflict) {
		m.presence.joined = false
		_, err = m.put(ctx, true)
	}
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return nil
}

// Report returns what this process runs, as it is on record: every secret, in the
// order of their ids. It holds versions and never a value.
func (m *Manager) Report() events.Report {
	r := events.Report{Service: m.cfg.Service, Instance: m.cfg.Instance, StartedAt: m.started, At: time.Now()}
	now := m.members.Load()
	for _, id := range now.ids {
		if s := now.entries[id].status.Load(); s != nil {
			r.Secrets = append(r.Secrets, *s)
		}
	}
	return r
}

// wholeSeconds returns a duration as the records have it, rounded up: a record that
// names a shorter fence than the process keeps would let a version be retired while
// the process still uses it.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
