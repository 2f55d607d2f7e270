//go:build unix

package agent

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// bus is the bus as the manager of one file sees it. The manager speaks of the
// process that it is part of; the bus makes that the program that uses the file.
//
// The manager counts a version as applied once it has read it, and asks a hook about
// the next one only; here nothing is applied before it was delivered once.
// The program goes on when the manager ends.
type bus struct {
	*events.Bus

	incarnation string
	program     func() (pid int) // the program now, 0 where it is not known

	mu      sync.Mutex // held while a record is under way, so that none overtakes another
	process *events.Process
	has     secret.VersionID // what the program had when it was seen last
	former  []former
	unsaid  bool             // whether former has changed since the last record
	wait    *events.Running  // what is on record until the first delivery, nil from then on
	last    *events.Use      // what the manager has said last
	half    secret.VersionID // see delivery.half
}

// gone reports whether the program has ended, as far as is known.
func (b *bus) gone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.observe()
}

// speak returns the presence of the program in place of that of the agent. It has
// ended only if the program has, and every process before it.
func (b *bus) speak(p events.Presence) events.Presence {
	ended := b.observe()
	p.Incarnation, p.Process = b.incarnation, b.process
	if len(b.former) > 0 {
		p.Process, ended = b.former[0].process, false
	}
	p.Ended = ended
	return p
}

// Join implements [client.Bus]. It takes over the record of the agent before.
func (b *bus) Join(ctx context.Context, p events.Presence) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Bus.Join(ctx, b.speak(p))
}

// Renew implements [client.Bus]. An agent that stops says nothing about a program
// that lives, or may live.
func (b *bus) Renew(ctx context.Context, p events.Presence, after uint64) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	stops := p.Ended
	p = b.speak(p)
	if b.unsaid && b.last != nil {
		if err := b.write(ctx); err != nil {
			return 0, err
		}
	}
	if stops && !p.Ended {
		return after, nil
	}
	return b.Bus.Renew(ctx, p, after)
}

// WriteUse implements [client.Bus].
func (b *bus) WriteUse(ctx context.Context, u events.Use) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	u.Incarnation, u.PastFence = b.incarnation, events.PastFenceServe
	b.last = &u
	b.observe()
	return b.write(ctx)
}

// write writes what is on record: what the manager says, unless it waits. The caller
// holds mu.
func (b *bus) write(ctx context.Context) error {
	u := *b.last
	if w := b.wait; w != nil {
		// The file may hold the one or the other version.
		read := u.VersionID
		u.Running = *w
		switch {
		case w.VersionID == "":
			u.Wanted, u.Accepts = read, nil // it may be any version
		case read != "" && read != w.VersionID:
			u.Wanted, u.Accepts = read, append([]secret.VersionID{read}, u.Accepts...)
		}
	}
	if v := b.half; v != "" && v != u.VersionID && u.Accepts != nil && !slices.Contains(u.Accepts, v) {
		u.Accepts = append(slices.Clone(u.Accepts), v)
	}
	b.addFormer(&u)
	err := b.Bus.WriteUse(ctx, u)
	b.unsaid = b.unsaid && err != nil
	return err
}

// failed puts on record why the secret is not delivered.
func (b *bus) failed(ctx context.Context, reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wait != nil {
		b.wait.Reason = reason
	}
	return b.again(ctx)
}

// delivered lets the manager speak for the secret.
func (b *bus) delivered(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wait = nil
	b.observe()
	return b.again(ctx)
}

// halfway puts on record which version the program may use although its delivery failed.
// The manager writes the record anew once the hook has returned.
func (b *bus) halfway(v secret.VersionID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.half = v
}

// again writes at once, unless the manager has not written yet and will.
func (b *bus) again(ctx context.Context) error {
	if b.last == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	return b.write(ctx)
}

// waiting returns what is on record before the first delivery: what the program was
// told of last.
func waiting(f File) *events.Running {
	return &events.Running{SecretID: f.ID, VersionID: f.told(), Status: events.StatusFailed, Reason: notYet, At: time.Now()}
}
