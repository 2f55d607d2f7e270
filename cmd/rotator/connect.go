package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
)

// reach is how long a command waits for the bus.
const reach = 10 * time.Second

// attach connects a command to what runs: the cluster, or the single node on
// this machine under the operator's key. It makes nothing.
func attach(cmd *cobra.Command, path string) (*wire.Parts, error) {
	cfg, err := cli.Load(cmd, path)
	if err != nil {
		return nil, err
	}
	log, err := telemetry.NewLogger(cmd.ErrOrStderr(), "error", cfg.Log.Format)
	if err != nil {
		return nil, err
	}
	slog.SetDefault(log)
	dir, err := cfg.DataDir(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	var connect events.ConnectConfig
	if cfg.SingleNode() {
		connect = events.ConnectConfig{URL: "nats://" + cfg.Node.Listen, NKeyFile: filepath.Join(dir, "operator.nk")}
		if _, err := os.Stat(connect.NKeyFile); err != nil {
			return nil, fmt.Errorf("no single node has run with this configuration: %w; start it with 'rotator run --config %s'", err, path)
		}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), reach)
	defer cancel()
	parts, err := wire.Open(ctx, wire.Options{Config: cfg, Role: "cli", Connect: connect, DataDir: dir, Stores: true, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("%w; is 'rotator run' running?", err)
	}
	return parts, nil
}
