package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store"
)

// reach is how long a command waits for the bus.
const reach = 10 * time.Second

// Operator works with one configuration.
type Operator struct {
	// Config is the configuration in force.
	Config *config.Config

	path string
	wire wire.Options
}

// New reads the configuration at path. Its warnings go to the standard error of
// the command, and so do the errors that opened parts log later.
func New(cmd *cobra.Command, path string) (*Operator, error) {
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
	o := wire.Options{Config: cfg, Role: "cli", DataDir: dir, Stores: true, Logger: log}
	if cfg.SingleNode() {
		o.Connect = events.ConnectConfig{URL: "nats://" + cfg.Node.Listen, NKeyFile: filepath.Join(dir, "operator.nk")}
	}
	return &Operator{Config: cfg, path: path, wire: o}, nil
}

// Connect connects to what runs with the configuration at path.
func Connect(cmd *cobra.Command, path string) (*wire.Parts, error) {
	o, err := New(cmd, path)
	if err != nil {
		return nil, err
	}
	return o.connect(cmd.Context())
}

func (o *Operator) connect(ctx context.Context) (*wire.Parts, error) {
	parts, err := o.open(ctx)
	if err == nil || !o.wire.NeedsBus() {
		return parts, err
	}
	// A store on the bus may be what could not be opened, and says less about why.
	bare := *o
	bare.wire.Stores = false
	alone, failed := bare.open(ctx)
	if failed != nil {
		return nil, err
	}
	return nil, errors.Join(alone.Bus.Quorum(ctx), err, alone.Close())
}

func (o *Operator) open(ctx context.Context) (*wire.Parts, error) {
	return within(ctx, o, true, func(ctx context.Context) (*wire.Parts, error) { return wire.Open(ctx, o.wire) })
}

// Stores opens the stores. It needs what runs only if a store is on the bus.
func (o *Operator) Stores(ctx context.Context) (*wire.Stores, error) {
	return within(ctx, o, o.wire.NeedsBus(), func(ctx context.Context) (*wire.Stores, error) { return wire.OpenStores(ctx, o.wire) })
}

// Bucket opens the embedded store with a name, or the only one if the name is "".
// It returns the name with it.
func (o *Operator) Bucket(ctx context.Context, name string) (*wire.Bucket, string, error) {
	names := o.Config.With(func(f store.Features) bool { return f.Keyset })
	if name != "" {
		names = slices.DeleteFunc(names, func(other string) bool { return other != name })
	}
	switch {
	case len(names) == 0 && name != "":
		return nil, "", cli.UsageError{Err: fmt.Errorf("--store: %s has no store %q of type natskv", o.path, name)}
	case len(names) == 0:
		return nil, "", cli.UsageError{Err: fmt.Errorf("%s has no store of type natskv", o.path)}
	case len(names) > 1:
		return nil, "", cli.UsageError{Err: fmt.Errorf("--store: choose one of %s", strings.Join(names, ", "))}
	}
	b, err := within(ctx, o, true, func(ctx context.Context) (*wire.Bucket, error) { return wire.OpenBucket(ctx, o.wire, names[0]) })
	return b, names[0], err
}

// within opens something in the time that a command waits. Where the bus is
// needed it fails at once if this machine has to have a single node and has none.
func within[T any](ctx context.Context, o *Operator, bus bool, open func(context.Context) (T, error)) (opened T, err error) {
	if bus {
		if err := o.runs(ctx); err != nil {
			return opened, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	opened, err = open(ctx)
	if err == nil || errors.Is(err, store.ErrAccessDenied) { // something was reached, and refused
		return opened, err
	}
	if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked) {
		return opened, fmt.Errorf("%w; the server runs and refuses this user: see nats.credentials", err)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoServers) {
		return opened, fmt.Errorf("%w; is 'rotator run' running?", err)
	}
	return opened, err // the error says what is wrong here
}

// runs returns an error if the configuration is of a single node and none runs.
func (o *Operator) runs(ctx context.Context) error {
	if o.wire.Connect.NKeyFile == "" {
		return nil
	}
	listen := o.Config.Node.Listen
	if listen == "none" {
		return errors.New("node.listen is none, so that commands cannot reach the node; give it an address")
	}
	if _, err := os.Stat(o.wire.Connect.NKeyFile); err != nil {
		return fmt.Errorf("no single node has run with this configuration: %w; start it with 'rotator run --config %s'", err, o.path)
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", listen)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no single node runs with this configuration: %w; start it with 'rotator run --config %s'", err, o.path)
	}
	if err == nil {
		return c.Close()
	}
	return nil // the connection itself has more to say
}
