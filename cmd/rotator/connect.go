package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store"
)

// reach is how long a command waits for the bus.
const reach = 10 * time.Second

// attach connects a command to what runs: the cluster, or the single node on
// this machine under the operator's key. It makes nothing.
func attach(cmd *cobra.Command, path string) (*wire.Parts, error) {
	o, err := options(cmd, path)
	if err != nil {
		return nil, err
	}
	if err := runs(cmd.Context(), o, path); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), reach)
	defer cancel()
	parts, err := wire.Open(ctx, o)
	if err != nil {
		return nil, unreached(err)
	}
	return parts, nil
}

func unreached(err error) error {
	if errors.Is(err, store.ErrAccessDenied) {
		return err // something was reached, and refused
	}
	return fmt.Errorf("%w; is 'rotator run' running?", err)
}

// runs returns an error when this machine has to have a single node and has
// none: then nobody has to wait for it.
func runs(ctx context.Context, o wire.Options, path string) error {
	if o.Connect.NKeyFile == "" {
		return nil
	}
	listen := o.Config.Node.Listen
	if listen == "none" {
		return errors.New("node.listen is none, so that commands cannot reach the node; give it an address")
	}
	if _, err := os.Stat(o.Connect.NKeyFile); err != nil {
		return fmt.Errorf("no single node has run with this configuration: %w; start it with 'rotator run --config %s'", err, path)
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", listen)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no single node runs with this configuration: %w; start it with 'rotator run --config %s'", err, path)
	}
	if err == nil {
		return c.Close()
	}
	return nil // the connection itself has more to say
}

// options returns how a command works with a configuration.
func options(cmd *cobra.Command, path string) (wire.Options, error) {
	cfg, err := cli.Load(cmd, path)
	if err != nil {
		return wire.Options{}, err
	}
	log, err := telemetry.NewLogger(cmd.ErrOrStderr(), "error", cfg.Log.Format)
	if err != nil {
		return wire.Options{}, err
	}
	slog.SetDefault(log)
	dir, err := cfg.DataDir(os.LookupEnv)
	if err != nil {
		return wire.Options{}, err
	}
	o := wire.Options{Config: cfg, Role: "cli", DataDir: dir, Stores: true, Logger: log}
	if cfg.SingleNode() {
		o.Connect = events.ConnectConfig{URL: "nats://" + cfg.Node.Listen, NKeyFile: filepath.Join(dir, "operator.nk")}
	}
	return o, nil
}
