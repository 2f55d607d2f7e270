package doctor

import (
	"context"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/running"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

const (
	// servedTries and servedPause are how often, and how far apart, a consumer is looked
	// at before it counts as served by no program: between two pulls none waits.
	servedTries = 3
	servedPause = 700 * time.Millisecond
)

// Read reads the facts about what runs with a configuration. It changes nothing. What
// cannot be read is among the facts.
func Read(ctx context.Context, c *config.Config, r operator.Reached, idle time.Duration) Facts {
	f := Facts{
		Now: time.Now(), Bus: r.Bus, Features: map[string]store.Features{}, Idle: idle,
		SweepEvery: time.Duration(c.Scheduler.SweepEvery), Config: c,
	}
	for _, st := range r.Stores.All() {
		f.Features[st.Name()] = st.Features()
	}
	in := inspect.Inspector{Catalog: r.Catalog, Stores: r.Stores, Readers: wire.KnownReaders(c)}
	if r.Bus == nil {
		in.Bus = r.Parts.Bus
		f.bus(ctx, r.Parts.Bus, c.EventBridge.On())
		var err error
		f.Nodes, err = running.Ask(ctx, r.Parts.Conn, r.Parts.Bus.Names(), running.Show, false)
		f.Unread = append(f.Unread, failed("running programs", err)...)
	}
	all, err := in.Secrets(ctx)
	f.Secrets, f.Unread = all, append(f.Unread, failed("secrets", err)...)
	f.listed(ctx, r)
	return f
}

// bus reads what is known of the bus itself.
func (f *Facts) bus(ctx context.Context, b *events.Bus, eventBridge bool) {
	note := func(what string, err error) { f.Unread = append(f.Unread, failed(what, err)...) }
	f.Key = b.TrustsItself()
	f.Streams, f.Uses = b.Streams(ctx), b.Names().UsesStream()
	var err error
	f.Account, err = b.Account(ctx)
	note("limits of the account", err)
	f.Fleet, err = b.Users(ctx)
	note("instances", err)
	f.Consumers, err = consumers(ctx, b, eventBridge)
	note("consumers", err)
	armed, err := b.ArmedKeys(ctx)
	note("timers", err)
	for k := range armed {
		if id, err := secret.IDFromKey(k); err == nil {
			f.Timers = append(f.Timers, id)
		}
	}
	ago, known, err := b.LastSweep(ctx)
	note("last sweep", err)
	if known {
		f.Swept = &ago
	}
}

// consumers reads the consumers again while a known one seems to be served by no program.
func consumers(ctx context.Context, b *events.Bus, eventBridge bool) ([]events.ConsumerState, error) {
	served := map[string]bool{}
	for try := 1; ; try++ {
		all, err := b.Consumers(ctx, eventBridge)
		if err != nil {
			return nil, err
		}
		idle := false
		for i, c := range all {
			key := c.Stream + " " + c.Name
			served[key] = served[key] || c.Served
			all[i].Served = served[key]
			idle = idle || c.Known && !c.Missing && !served[key]
		}
		if !idle || try == servedTries || !backoff.Pause(ctx, servedPause) {
			return all, nil
		}
	}
}
