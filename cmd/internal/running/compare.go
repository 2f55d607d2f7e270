package running

import (
	"context"
	"log/slog"
	"os"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

// Agent is an agent that runs a configuration. File and Environ are those of [Program].
type Agent struct {
	Config  *config.Config
	File    string
	Environ []string
	// Apply has the agent go on with another configuration. Its error says what is wrong
	// with that one, and the agent goes on as before.
	Apply  func(context.Context, *config.Config) error
	Hangup <-chan os.Signal
	Logger *slog.Logger
}

// Run loads the file at each hangup, until ctx ends.
func (a *Agent) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.Hangup:
			a.load(ctx)
		}
	}
}

// load takes over what the file says, as far as that takes no restart of the process. A
// file that is wrong changes nothing.
func (a *Agent) load(ctx context.Context) {
	log := func(level slog.Level, msg string, attrs ...slog.Attr) {
		a.Logger.LogAttrs(ctx, level, msg, append(attrs, slog.String("file", a.File))...) //nolint:sloglint // each caller below has a constant
	}
	file, err := config.Load(a.File, a.Environ)
	var d config.Difference
	if err == nil {
		d = config.DiffAgent(a.Config, file)
	}
	restart := d.Restart
	d.Restart = nil
	if err == nil && d.Loadable() {
		err = a.Apply(ctx, a.Config.LoadedAgent(file))
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		log(slog.LevelError, "config.rejected", slog.String("error", err.Error()), slog.String("message", "the program goes on with the configuration that it runs"))
		return
	}
	a.Config = a.Config.LoadedAgent(file)
	if d.Loadable() {
		log(slog.LevelInfo, "config.loaded", slog.String("changes", d.String()), slog.String("digest", a.Config.Digest()))
	}
	if len(restart) > 0 {
		log(slog.LevelWarn, "config.restart_needed", slog.Any("settings", restart))
	} else if !d.Loadable() {
		log(slog.LevelInfo, "config.unchanged")
	}
}
