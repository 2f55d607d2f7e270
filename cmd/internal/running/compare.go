package running

import (
	"context"
	"log/slog"
	"os"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

// Compare is for an agent, which takes no change over while it runs: at each hangup it
// loads the file and logs what a restart would change, until ctx ends. file and environ
// are those of [Program].
func Compare(ctx context.Context, cfg *config.Config, file string, environ []string, hangup <-chan os.Signal, log *slog.Logger) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangup:
		}
		next, err := config.Load(file, environ)
		if err != nil {
			log.LogAttrs(ctx, slog.LevelError, "config.rejected", slog.String("file", file), slog.String("error", err.Error()),
				slog.String("message", "the program goes on with the configuration that it runs"))
			continue
		}
		if d := config.DiffAgent(cfg, next); d.IsZero() {
			log.LogAttrs(ctx, slog.LevelInfo, "config.unchanged", slog.String("file", file))
		} else {
			log.LogAttrs(ctx, slog.LevelWarn, "config.restart_needed", slog.String("file", file), slog.String("changes", d.String()))
		}
	}
}
