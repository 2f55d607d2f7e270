//go:build unix

package agent

import (
	"context"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// bus is the bus as the manager of the agent sees it. The manager counts a
// version as applied once it has read it, and asks a hook about the next one
// only; here nothing is applied before it was delivered once.
type bus struct {
	*events.Bus

	mu    sync.Mutex // held while a report is under way, so that none overtakes another
	wait  map[secret.ID]events.Running
	last  events.Report
	lease time.Duration
}

// Report reports what the manager says, but for what waits.
func (b *bus) Report(ctx context.Context, r events.Report, lease time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.lease = r, lease
	return b.send(ctx)
}

func (b *bus) send(ctx context.Context) error {
	r := b.last
	r.Secrets = make([]events.Running, len(b.last.Secrets))
	for i, s := range b.last.Secrets {
		w, waits := b.wait[s.SecretID]
		if !waits {
			r.Secrets[i] = s
			continue
		}
		if w.Wanted = s.VersionID; w.VersionID == w.Wanted {
			w.VersionID = "" // what the file was is not what it is
		}
		r.Secrets[i] = w
	}
	r.At = time.Now()
	return b.Bus.Report(ctx, r, b.lease)
}

// failed reports why a secret is not delivered.
func (b *bus) failed(ctx context.Context, id secret.ID, reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.wait[id]
	w.Reason = reason
	b.wait[id] = w
	return b.again(ctx)
}

// delivered lets the manager speak for a secret.
func (b *bus) delivered(ctx context.Context, id secret.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.wait, id)
	return b.again(ctx)
}

// again reports at once, unless the manager has not reported yet and will.
func (b *bus) again(ctx context.Context) error {
	if b.lease == 0 {
		return nil
	}
	return b.send(ctx)
}
