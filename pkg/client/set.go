package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/tradepulse/rotator/pkg/client/internal/reload"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Set says which secrets a [Manager] holds, and where they are read.
type Set struct {
	Source Source
	IDs    []secret.ID
	// CheckedAtUse are those of IDs that the process uses through users that check,
	// see [Config.CheckedAtUse]. It applies to secrets that are added.
	CheckedAtUse []secret.ID
	// Optional are those that need not be there, see [Config.Optional]. It applies to
	// secrets that are added.
	Optional []secret.ID
}

// members are the secrets that a Manager holds at a time. They are not changed:
// [Manager.Reload] replaces them.
type members struct {
	ids     []secret.ID // sorted
	entries map[secret.ID]*entry
	parts   [][]secret.ID
}

func newMembers(entries map[secret.ID]*entry) *members {
	ids := slices.Sorted(maps.Keys(entries))
	return &members{ids: ids, entries: entries, parts: inParts(ids)}
}

// entries returns the secrets that the Manager holds now, also those whose first
// version is not read yet.
func (m *Manager) entries() map[secret.ID]*entry { return m.members.Load().entries }

// find returns a secret that can be read.
func (m *Manager) find(id secret.ID) (*entry, bool) {
	e, ok := m.entries()[id]
	return e, ok && e.current.Load() != nil
}

// newEntry returns an entry that is not among the members yet.
func (m *Manager) newEntry(id secret.ID, source Source, checked, optional bool) *entry {
	e := &entry{m: m, id: id, checked: checked, optional: optional}
	e.source.Store(&source)
	e.handle.e = e
	return e
}

// errNoReconfigure is returned by a reload of a Manager that was made without
// [Config.Reconfigure].
var errNoReconfigure = errors.New("client: reload: Config.Reconfigure is not set, so this process has no configuration to read again")

// Reload calls [Config.Reconfigure] and holds the secrets that it returns: it reads
// what is new, reads from the new path what has moved and gives that to its hooks, and
// drops the others. All of it happens or, after an error, none of it: then the secrets
// from before stay in use.
//
// The use of a secret that is new is on record before its first read, so a bus that
// cannot be reached is an error. A secret is dropped only once its users are closed and
// its hooks removed; handles on it keep a last value that may be retired.
func (m *Manager) Reload(ctx context.Context) error {
	if m.cfg.Reconfigure == nil {
		return errNoReconfigure
	}
	m.reloading.Lock()
	defer m.reloading.Unlock()
	next, err := m.cfg.Reconfigure(ctx)
	if err != nil {
		return fmt.Errorf("client: reload: %w", err)
	}
	c, err := m.compare(next)
	if err == nil {
		err = c.apply(ctx)
	}
	if err != nil {
		return fmt.Errorf("client: reload: the secrets from before stay in use: %w", err)
	}
	m.log.LogAttrs(ctx, slog.LevelInfo, "secret.reloaded", slog.Int("added", len(c.added)), slog.Int("moved", len(c.moved)), slog.Int("dropped", len(c.dropped)))
	return nil
}

// change is the step from one set of secrets to another.
type change struct {
	m           *Manager
	source      Source
	before      *members
	added, kept []*entry
	moved       []*move
	dropped     []*entry
}

// move is a secret that is read at another place.
type move struct {
	e   *entry
	got loaded
}

// compare returns what has to change.
func (m *Manager) compare(next Set) (*change, error) {
	c := &change{m: m, source: next.Source, before: m.members.Load()}
	if next.Source == nil || len(next.IDs) == 0 {
		return nil, errors.New("the new configuration has no secret")
	}
	if err := validateOptional(next.Optional, next.IDs, next.CheckedAtUse); err != nil {
		return nil, err
	}
	var errs []error
	for _, id := range slices.Compact(slices.Sorted(slices.Values(next.IDs))) {
		spec, err := next.Source.Spec(id)
		if err != nil {
			errs = append(errs, remedy(id, spec, err))
			continue
		}
		e, held := c.before.entries[id]
		if !held {
			c.added = append(c.added, m.newEntry(id, next.Source, slices.Contains(next.CheckedAtUse, id), slices.Contains(next.Optional, id)))
			continue
		}
		c.kept = append(c.kept, e)
		if was, err := (*e.source.Load()).Spec(id); err != nil || was.Store != spec.Store || was.StorePath() != spec.StorePath() {
			c.moved = append(c.moved, &move{e: e})
		}
	}
	for id, e := range c.before.entries {
		if slices.Contains(next.IDs, id) {
			continue
		}
		if e.used() {
			errs = append(errs, fmt.Errorf("%s is dropped and still has users: close them and remove its hooks first", id))
		}
		c.dropped = append(c.dropped, e)
	}
	return c, errors.Join(errs...)
}

// used reports whether users are attached.
func (e *entry) used() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.hooks) > 0 || len(e.acceptors) > 0
}

// apply makes the change, or undoes what it has done of it.
func (c *change) apply(ctx context.Context) error {
	err := c.resolve(ctx)
	if err == nil {
		err = c.leave(ctx)
	}
	if err != nil {
		c.undo(ctx)
		return err
	}
	for i, mv := range c.moved {
		if err := mv.e.restart(ctx, c.source, mv.got); err != nil {
			c.moveBack(ctx, c.moved[:i])
			c.undo(ctx)
			return err
		}
	}
	entries := map[secret.ID]*entry{}
	for _, e := range slices.Concat(c.kept, c.added) {
		e.source.Store(&c.source)
		entries[e.id] = e
	}
	c.m.members.Store(newMembers(entries))
	c.m.leaveSecrets(ctx, c.dropped)
	c.m.rouse()
	c.m.renew()
	return nil
}

// resolve puts the use of what is new on record, and reads everything that is new or
// has moved. What is new is among the members from here on, so that its records are
// kept.
func (c *change) resolve(ctx context.Context) error {
	var errs []error
	all := maps.Clone(c.before.entries)
	for _, e := range c.added {
		errs = append(errs, e.configure())
		all[e.id] = e
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.m.members.Store(newMembers(all))
	for _, e := range c.added {
		errs = append(errs, e.enrol(ctx))
	}
	moved := c.moved
	c.moved = nil
	for _, mv := range moved {
		var err error
		switch mv.got, err = read(ctx, mv.e, c.source); {
		case err == nil:
			c.moved = append(c.moved, mv)
		case mv.e.isAbsent() && notThere(err): // it stays absent
		default:
			spec, _ := c.source.Spec(mv.e.id) // it was there before
			errs = append(errs, remedy(mv.e.id, spec, err))
		}
	}
	return errors.Join(errs...)
}

// enrol puts the use on record and reads the first version.
func (e *entry) enrol(ctx context.Context) error {
	e.m.forgetEnd(e.id)
	if e.m.cfg.Bus != nil {
		if err := e.record(ctx); err != nil {
			return fmt.Errorf("  %s: its use cannot be put on record: %w (let this process reach the bus)", e.id, err)
		}
	}
	return e.first(ctx)
}

// read reads the current version at a new place.
func read(ctx context.Context, e *entry, source Source) (loaded, error) {
	asked := readClock()
	got, err := e.readFrom(ctx, source, store.Selector{Primary: true})
	got.asked = asked
	return got, err
}

// leave has the secrets that are dropped refuse users from here on. It fails if one of
// them has got a user since the comparison.
func (c *change) leave(ctx context.Context) error {
	for _, e := range c.dropped {
		if err := e.lockHooks(ctx); err != nil { // a user that is being added is one after that
			return err
		}
		e.setLeaving(true)
		used := e.used()
		e.unlockHooks()
		if used {
			return fmt.Errorf("%s is dropped and has got users since the reload began: close them and remove its hooks first", e.id)
		}
	}
	return nil
}

func (e *entry) setLeaving(leaving bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leaving = leaving
}

// checkStays returns an error for a secret that is dropped, or is about to be.
func (e *entry) checkStays() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leaving {
		return fmt.Errorf("client: %w: %s is being dropped by a reload", ErrUnknown, e.id)
	}
	return nil
}

// undo takes back what is new, and lets users come to what stays.
func (c *change) undo(ctx context.Context) {
	for _, e := range c.dropped {
		e.setLeaving(false)
	}
	c.m.members.Store(c.before)
	c.m.leaveSecrets(ctx, c.added)
}

// moveBack gives secrets that have moved already back to their hooks as they were.
func (c *change) moveBack(ctx context.Context, moved []*move) {
	for _, mv := range moved {
		source := *mv.e.source.Load()
		was := mv.e.origin
		got, err := read(ctx, mv.e, was)
		if err == nil {
			err = mv.e.restart(ctx, was, got)
		}
		if err != nil {
			mv.e.source.Store(&source)
			mv.e.logger().LogAttrs(ctx, slog.LevelError, "secret.reload.failed", slog.String("error", err.Error()),
				slog.String("message", "it could not be moved back after another secret could not be moved"))
		}
	}
}

// restart begins the life of the secret anew with a version at another place. The hooks
// take the version first; one that refuses leaves everything as it was. Versions of two
// places may have the same id, so the reload machine of the old one ends.
func (e *entry) restart(ctx context.Context, source Source, got loaded) error {
	if err := e.lockHooks(ctx); err != nil {
		return err
	}
	defer e.unlockHooks()
	f := reload.Effect{Kind: reload.Prepare, Version: got.version.ID}
	defer e.offers(ctx, got.version.ID)()
	for i, s := range e.hooks {
		if err := e.offer(ctx, s, Change{ID: e.id, Version: got.version, Value: got.value}); err != nil {
			e.mu.Lock()
			e.withdrawn = append(e.withdrawn, got.version.ID)
			e.mu.Unlock()
			e.withdraw(ctx)
			e.giveBack(ctx, e.hooks[:i])
			return fmt.Errorf("  %s: %w", e.id, err)
		}
	}
	e.origin = *e.source.Load()
	e.source.Store(&source)
	started := reload.Event{Kind: reload.Started, Version: got.version.ID, NotAfter: e.end(got)}
	if err := e.commitAll(ctx, f, got); err != nil {
		started.Failure = failureOf(err)
	}
	e.claim.took(got.version.ID, got.asked, e.claim.recorded())
	e.mu.Lock()
	e.state = reload.State{}
	e.moves++
	e.mu.Unlock()
	e.start(e.feed(ctx, started, got))
	return nil
}

// giveBack has hooks of one step, which have taken a version that a later one refused,
// take the version in use again. The caller holds hooking.
func (e *entry) giveBack(ctx context.Context, hooks []*subscriber) {
	cur := e.current.Load()
	for _, s := range hooks {
		if _, single := s.TwoPhase.(oneStep); !single || e.isAbsent() {
			continue
		}
		if err := e.offer(ctx, s, Change{ID: e.id, Version: cur.Version, Value: cur.Value}); err != nil {
			e.logger().LogAttrs(ctx, slog.LevelError, "secret.reload.failed", slog.String("error", err.Error()),
				slog.String("message", "a hook keeps the value of the place that the secret could not be moved to"))
		}
	}
}

// leaveSecrets ends the use of secrets and says so on the bus. What cannot be said now
// is said later.
func (m *Manager) leaveSecrets(ctx context.Context, dropped []*entry) {
	for _, e := range dropped {
		e.claim.writing.Lock() // no other record follows
		e.gone = true
		e.claim.writing.Unlock()
		e.claim.end()
		if m.cfg.Bus == nil {
			continue
		}
		u := e.use()
		u.Running, u.Accepts, u.Ended = events.Running{SecretID: e.id, At: u.At}, []secret.VersionID{}, true
		m.endings.Lock()
		if m.endings.uses == nil {
			m.endings.uses = map[secret.ID]events.Use{}
		}
		m.endings.uses[e.id] = u
		m.endings.Unlock()
	}
	if err := m.recordEnds(ctx); err != nil {
		m.log.LogAttrs(ctx, slog.LevelWarn, "secret.report", slog.String("error", err.Error()))
	}
}

// recordEnds writes the records that the use of a secret has ended.
func (m *Manager) recordEnds(ctx context.Context) error {
	m.endings.Lock()
	defer m.endings.Unlock()
	for id, u := range m.endings.uses {
		if err := m.write(ctx, u); err != nil {
			return err
		}
		delete(m.endings.uses, id)
	}
	return nil
}

// forgetEnd forgets the end of a use that begins again.
func (m *Manager) forgetEnd(id secret.ID) {
	m.endings.Lock()
	defer m.endings.Unlock()
	delete(m.endings.uses, id)
}
