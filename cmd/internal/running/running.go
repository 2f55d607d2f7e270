package running

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
)

// Program is a program that runs a configuration. Config, File and Parts are required.
type Program struct {
	// Config is what the program was started with, from File and Environ, which has the
	// form of [os.Environ].
	Config  *config.Config
	File    string
	Environ []string
	Parts   *wire.Parts
	// Stores says whether the program opens stores, and so discovers secrets.
	Stores bool
	// Sweep has the scheduler compare the stores with what was loaded.
	Sweep func(context.Context) error
	// Hangup asks for the file to be loaded: SIGHUP.
	Hangup <-chan os.Signal
	Logger *slog.Logger

	mu       sync.Mutex
	loadedAt time.Time
}

// Run loads the file when it is asked to, and answers, until ctx ends.
func (p *Program) Run(ctx context.Context) error {
	p.mu.Lock()
	p.loadedAt = time.Now()
	p.mu.Unlock()
	asked := make(chan *nats.Msg, 16)
	names := p.Parts.Bus.Names()
	for _, v := range []Verb{Show, Load} {
		sub, err := p.Parts.Conn.ChanSubscribe(names.Program(string(v)), asked)
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }() //nolint:revive // for both until the function ends; an error says that the connection is gone
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.Hangup:
			p.Load(ctx)
		case m := <-asked:
			p.answer(ctx, m, m.Subject == names.Program(string(Load)))
		}
	}
}

func (p *Program) answer(ctx context.Context, m *nats.Msg, load bool) {
	a := p.Show()
	if load {
		a = p.Load(ctx)
	}
	b, err := json.Marshal(a)
	if err == nil {
		err = m.Respond(b)
	}
	if err != nil {
		p.Logger.LogAttrs(ctx, slog.LevelWarn, "config.unanswered", slog.String("error", err.Error()))
	}
}

// Show returns which configuration the program runs, and what its file has besides.
func (p *Program) Show() Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.now()
	file, err := config.Load(p.File, p.Environ)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	a.Pending = config.Diff(p.Config, file)
	return a
}

// now returns what the program runs; p.mu is held.
func (p *Program) now() Answer {
	a := Answer{Source: p.Parts.Source, File: p.File, Digest: p.Config.Digest(), LoadedAt: p.loadedAt.UTC()}
	for e := range p.Parts.Catalog.Entries() {
		if e.Origin == catalog.Removed && len(a.Removed) < MaxRemoved {
			a.Removed = append(a.Removed, events.Discovery(p.Parts.Source, p.loadedAt, e.Spec).Data)
		}
	}
	return a
}

// Load takes over what the file says, as far as that takes no restart. A file that is
// wrong changes nothing.
func (p *Program) Load(ctx context.Context) Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	next, err := p.load()
	if err != nil {
		a := p.now()
		a.Error = err.Error()
		p.Logger.LogAttrs(ctx, slog.LevelError, "config.rejected", slog.String("file", p.File), slog.String("error", a.Error),
			slog.String("message", "the program goes on with the configuration that it runs"))
		return a
	}
	d := config.Diff(p.Config, next)
	p.Config, p.loadedAt = p.Config.Loaded(next), time.Now()
	p.log(ctx, d)
	a := p.now()
	a.Loaded, a.Pending.Restart = d, d.Restart
	a.Loaded.Restart = nil
	if p.Sweep != nil && d.Loadable() {
		if err := p.Sweep(ctx); err != nil {
			p.Logger.LogAttrs(ctx, slog.LevelWarn, "config.sweep_later", slog.String("error", err.Error()))
		}
	}
	return a
}

// load reads the file and has the catalog take over what it lists; p.mu is held.
func (p *Program) load() (*config.Config, error) {
	file, err := config.Load(p.File, p.Environ)
	if err != nil {
		return nil, err
	}
	next := p.Config.Loaded(file)
	specs, err := next.Specs()
	if err != nil {
		return nil, err
	}
	var found []*catalog.Discovery
	if p.Stores {
		if found, err = next.Discoveries(); err != nil {
			return nil, err
		}
	}
	return file, p.Parts.Catalog.Configure(specs, found...)
}

// log says what has changed, secret by secret.
func (p *Program) log(ctx context.Context, d config.Difference) {
	say := func(level slog.Level, msg string, attrs ...slog.Attr) {
		p.Logger.LogAttrs(ctx, level, msg, append(attrs, slog.String("file", p.File))...) //nolint:sloglint // each caller below has a constant
	}
	for _, id := range d.Added {
		say(slog.LevelInfo, "config.secret_added", slog.String("secret_id", id))
	}
	for _, id := range d.Removed {
		say(slog.LevelWarn, "config.secret_removed", slog.String("secret_id", id),
			slog.String("message", "its versions stay in the store, it is not rotated by schedule, and its rollout is followed to the end"))
	}
	for _, c := range d.Changed {
		say(slog.LevelInfo, "config.secret_changed", slog.String("secret_id", c.SecretID), slog.Any("fields", c.Fields))
	}
	if len(d.Sections) > 0 {
		say(slog.LevelInfo, "config.sections_changed", slog.Any("sections", d.Sections))
	}
	if len(d.Restart) > 0 {
		say(slog.LevelWarn, "config.restart_needed", slog.Any("settings", slices.Clone(d.Restart)))
	}
	say(slog.LevelInfo, "config.loaded", slog.String("digest", p.Config.Digest()))
}
