package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/embedded"
	"github.com/tradepulse/rotator/cmd/internal/httpd"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/notify"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/scheduler"
)

const (
	roleScheduler = "scheduler"
	roleWorker    = "worker"
	roleNotifier  = "notifier"
)

func runCommand(path *string) *cobra.Command {
	var roles []string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a single node, or take part in a cluster",
		Long: `With nats.url in the configuration, runs the scheduler and the worker on that
cluster; any number of processes may do so. Without it, runs a single node: an
embedded NATS server and store, scheduler, worker and notifier.

SIGTERM and Ctrl-C drain: no new rotation is begun, the steps in hand finish or
are handed back.`,
		Example: `  rotator run --config docs/examples/single-node.yaml
  rotator run --config docs/examples/cluster.yaml --roles worker`,
		Args: cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := cli.Load(cmd, *path)
			if err != nil {
				return err
			}
			if len(roles) == 0 {
				roles = []string{roleScheduler, roleWorker}
				if cfg.SingleNode() {
					roles = append(roles, roleNotifier)
				}
			}
			for _, r := range roles {
				if !slices.Contains([]string{roleScheduler, roleWorker, roleNotifier}, r) {
					return cli.UsageError{Err: fmt.Errorf("--roles: %q is none of scheduler, worker and notifier", r)}
				}
			}
			return run(cmd.Context(), cfg, roles)
		},
	}
	cmd.Flags().StringSliceVar(&roles, "roles", nil, "what to run: scheduler, worker, notifier (default scheduler,worker; on a single node all)")
	return cmd
}

// run runs the roles until ctx ends and everything in hand is done.
func run(ctx context.Context, cfg *config.Config, roles []string) (err error) {
	tel, err := cli.Telemetry(ctx, "rotator", cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tel.Shutdown(context.WithoutCancel(ctx))) }()
	n := &node{cfg: cfg, roles: roles, tel: tel, log: tel.Logger}
	return n.run(ctx)
}

// node is one process of rotator.
type node struct {
	cfg    *config.Config
	roles  []string
	tel    *telemetry.Telemetry
	log    *slog.Logger
	server *embedded.Server
	ready  readiness
}

// run serves health at once, so that a node that waits for its bus can be seen
// to wait.
func (n *node) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	if listen := n.cfg.HTTP.Listen; listen != "none" {
		srv, err := httpd.Listen(ctx, httpd.Config{Listen: listen, Metrics: n.tel.Metrics, Checks: n.ready.checks(), Logger: n.log})
		if err != nil {
			return fmt.Errorf("http.listen: %w; choose another address, or none", err)
		}
		n.log.LogAttrs(ctx, slog.LevelInfo, "http.listening", slog.String("url", srv.URL()))
		g.Go(func() error { return srv.Run(ctx) })
	}
	g.Go(func() error { return n.work(ctx) })
	return g.Wait()
}

func (n *node) work(ctx context.Context) error {
	dir, err := n.cfg.DataDir(os.LookupEnv)
	if err != nil {
		return err
	}
	var connect events.ConnectConfig
	if n.cfg.SingleNode() {
		if connect, err = n.embed(ctx, dir); err != nil {
			return err
		}
		defer n.server.Close()
	}
	parts, err := wire.Open(ctx, wire.Options{
		Config: n.cfg, Role: strings.Join(n.roles, "+"), Connect: connect, DataDir: dir, Make: true, Stores: true, Logger: n.log,
		Forwards: n.cfg.SingleNode() || slices.Contains(n.roles, roleNotifier), // a notifier beside a single node makes nothing itself
	})
	if err != nil {
		return startup(ctx, err)
	}
	n.ready.set(parts)
	n.log.LogAttrs(ctx, slog.LevelInfo, "rotator.started", slog.String("version", cli.Version()), slog.String("roles", strings.Join(n.roles, ",")),
		slog.Int("secrets", len(parts.Specs())), slog.Bool("single_node", n.cfg.SingleNode()))
	err = n.serve(ctx, parts)
	n.ready.set(nil)
	n.log.LogAttrs(ctx, slog.LevelInfo, "rotator.drained")
	return errors.Join(err, parts.Close())
}

// startup drops the error of a start that was ended on purpose.
func startup(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end was asked for
	}
	return err
}

// embed starts the server of a single node.
func (n *node) embed(ctx context.Context, dir string) (events.ConnectConfig, error) {
	_, operator, err := embedded.OperatorKey(dir)
	if err != nil {
		return events.ConnectConfig{}, fmt.Errorf("node.data_dir: %w", err)
	}
	listen := n.cfg.Node.Listen
	if listen == "none" {
		listen = ""
	}
	sync, err := syncInterval(n.cfg.Node.SyncInterval)
	if err != nil {
		return events.ConnectConfig{}, err
	}
	n.server, err = embedded.Start(ctx, embedded.Options{
		StoreDir: filepath.Join(dir, "nats"), Listen: listen, SyncInterval: sync, Operators: []string{operator}, Logger: n.log,
	})
	if err != nil {
		return events.ConnectConfig{}, err
	}
	public, err := n.server.Operator.PublicKey()
	return events.ConnectConfig{NKey: public, Sign: n.server.Operator.Sign, InProcess: n.server.Server}, err
}

// serverSync is nats-server's own interval.
const serverSync = 2 * time.Minute

// syncInterval reads node.sync_interval; 0 is always.
func syncInterval(s string) (time.Duration, error) {
	switch s {
	case "always", "":
		return 0, nil
	case "default":
		return serverSync, nil
	default:
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("node.sync_interval: %w", err)
		}
		return d, nil
	}
}

func (n *node) serve(ctx context.Context, p *wire.Parts) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return events.AwaitClose(ctx, p.Conn) })
	for _, role := range n.roles {
		switch role {
		case roleScheduler:
			g.Go(func() error { return n.scheduler(ctx, p) })
		case roleWorker:
			g.Go(func() error { return n.worker(ctx, p) })
		case roleNotifier:
			g.Go(func() error { return n.notifier(ctx, p) })
		}
	}
	return g.Wait()
}

func (n *node) scheduler(ctx context.Context, p *wire.Parts) error {
	s, err := scheduler.New(scheduler.Config{Catalog: p.Catalog, Stores: p.Stores, Bus: p.Bus, Source: p.Source, SweepEvery: time.Duration(n.cfg.Scheduler.SweepEvery), Logger: n.log})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return startup(ctx, s.Run(ctx)) })
	g.Go(func() error { return p.Hear(ctx, n.cfg, s, n.log) })
	return g.Wait()
}

func (n *node) worker(ctx context.Context, p *wire.Parts) error {
	w := n.cfg.Worker
	r, err := rotation.New(rotation.Config{
		Catalog: p.Catalog, Stores: p.Stores, Bus: p.Bus, Timers: p.Bus, Source: p.Source, TakeoverAttempts: w.TakeoverAttempts,
		ExternalDeadline: time.Duration(w.ExternalDeadline), RetryBase: time.Duration(w.RetryBase), RetryCap: time.Duration(w.RetryCap), Logger: n.log,
	})
	if err != nil {
		return err
	}
	return p.Bus.Consume(ctx, events.ConsumeConfig{
		Consumer: events.WorkerConsumer, Concurrency: w.Concurrency, DrainTimeout: time.Duration(w.DrainTimeout), Retry: r.Retry,
	}, r.Handle)
}

func (n *node) notifier(ctx context.Context, p *wire.Parts) error {
	nt, err := notify.New(notify.Config{Bus: p.Bus, Catalog: p.Catalog, Source: p.Source, Concurrency: n.cfg.Notifier.Concurrency, Logger: n.log})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return nt.Run(ctx) })
	g.Go(func() error { return p.Forward(ctx, n.cfg.EventBridge, n.log) })
	return g.Wait()
}
