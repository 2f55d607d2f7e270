// Command notifier tells services of rotations and follows each rollout until
// every instance runs the new version, without credentials of any store. As an
// agent it is the client of programs that have none, and reads their secrets.
package main

//go:generate sh -c "env -u ROTATOR_CONFIG go run . reference > ../../docs/reference/notifier.md"

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	_ "time/tzdata" // windows need time zones on machines that have none

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/health"
	"github.com/tradepulse/rotator/cmd/internal/httpd"
	"github.com/tradepulse/rotator/cmd/internal/page"
	"github.com/tradepulse/rotator/cmd/internal/running"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/notify"
)

func main() { os.Exit(cli.Execute(root())) }

func root() *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "notifier",
		Short: "Tell services of rotations and follow every rollout",
		Long: `notifier fans secret.rotated out to the services that use a secret and follows
what their instances report, until every one runs the new version. For programs
that have no client, notifier agent keeps secrets in files.

` + cli.ExitCodes,
	})
	path := cli.ConfigFlag(cmd)
	cmd.AddCommand(&cobra.Command{
		Use:     "run",
		Short:   "Run until told to stop",
		Long:    "Runs on the bus of the configuration; any number of notifiers may. SIGTERM and Ctrl-C drain. SIGHUP loads the configuration again, as 'rotator reload' does.",
		Example: "  notifier run --config docs/examples/cluster.yaml",
		Args:    cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := cli.Load(cmd, *path)
			if err != nil {
				return err
			}
			return run(cmd.Context(), cfg, *path)
		},
	})
	cmd.AddCommand(agentCommands(path)...)
	cmd.AddCommand(cli.VersionCommand(), cli.ReferenceCommand())
	return cmd
}

func run(ctx context.Context, cfg *config.Config, path string) (err error) {
	cli.IgnoreBrokenPipes()
	hangup, stop := cli.Hangups()
	defer stop()
	tel, err := cli.Telemetry(ctx, "notifier", cfg)
	if err != nil {
		return err
	}
	defer tel.Close(context.WithoutCancel(ctx))
	var ready readiness
	if ready.page, err = page.New("notifier", storeless, []httpd.Check{ready.check()}, tel.Logger); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if listen := cfg.HTTP.NotifierListen; listen != "none" {
		srv, err := httpd.Listen(ctx, httpd.Config{Listen: listen, Metrics: tel.Metrics, Checks: []httpd.Check{ready.check()}, Handlers: ready.page.Handlers(), Logger: tel.Logger})
		if err != nil {
			return fmt.Errorf("http.notifier_listen: %w; choose another address, or none", err)
		}
		tel.Logger.LogAttrs(ctx, slog.LevelInfo, "http.listening", slog.String("url", srv.URL()))
		g.Go(func() error { return srv.Run(ctx) })
		g.Go(func() error { return ready.page.Run(ctx) })
	}
	g.Go(func() error {
		return serve(ctx, &running.Program{Config: cfg, File: path, Environ: os.Environ(), Hangup: hangup, Logger: tel.Logger}, tel, &ready)
	})
	return g.Wait()
}

// readiness answers /readyz.
type readiness struct {
	waiting  wire.Waiting
	notifier atomic.Pointer[notify.Notifier]
	monitor  *health.Monitor // set before notifier
	page     *page.Page
}

// storeless is what the page of the notifier does not know.
const storeless = "The notifier reads no store: it shows the secrets of its configuration as they were announced. The page of rotator has all."

func (r *readiness) check() httpd.Check {
	return httpd.Check{Name: "nats", Probe: func(context.Context) error {
		n := r.notifier.Load()
		switch {
		case n == nil:
			return r.waiting.Err()
		case !n.Ready():
			return errors.New("the fleet is not known yet")
		default:
			return r.monitor.Err()
		}
	}}
}

func serve(ctx context.Context, program *running.Program, tel *telemetry.Telemetry, ready *readiness) error {
	cfg := program.Config
	o, err := options(cfg, "notifier", tel.Logger)
	if err != nil {
		return err
	}
	o.Make, o.Forwards, o.Waiting = !cfg.SingleNode(), true, &ready.waiting
	p, err := wire.Open(ctx, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was asked for
		}
		return err
	}
	n, err := notify.New(notify.Config{Bus: p.Bus, Catalog: p.Catalog, Source: p.Source, Concurrency: cfg.Notifier.Concurrency, SecretMetrics: cfg.Notifier.SecretMetrics, Logger: tel.Logger})
	if err != nil {
		return errors.Join(err, p.Close())
	}
	if ready.monitor, err = health.New(health.Config{Bus: p.Bus, Logger: tel.Logger}); err != nil {
		return errors.Join(err, p.Close())
	}
	ready.notifier.Store(n)
	ready.page.Show(&inspect.Inspector{Catalog: p.Catalog, Bus: p.Bus, Announced: true})
	program.Parts = p
	tel.Logger.LogAttrs(ctx, slog.LevelInfo, "notifier.started", slog.String("version", cli.Version()), slog.Int("secrets", len(p.Specs())))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return events.AwaitClose(ctx, p.Conn) })
	g.Go(func() error { return program.Run(ctx) })
	g.Go(func() error { return n.Run(ctx) })
	g.Go(func() error { return ready.monitor.Run(ctx) })
	g.Go(func() error { return p.Forward(ctx, cfg.EventBridge, tel.Logger) })
	g.Go(func() error { return p.CountReaders(ctx, cfg, tel.Logger) })
	return errors.Join(g.Wait(), p.Close())
}

// options returns how a role works with a configuration. Beside a single node it
// connects as its operator does.
func options(cfg *config.Config, role string, log *slog.Logger) (wire.Options, error) {
	dir, err := cfg.DataDir(os.LookupEnv)
	if err != nil {
		return wire.Options{}, err
	}
	o := wire.Options{Config: cfg, Role: role, DataDir: dir, Logger: log}
	if cfg.SingleNode() {
		o.Connect = events.ConnectConfig{URL: "nats://" + cfg.Node.Listen, NKeyFile: filepath.Join(dir, "operator.nk")}
	}
	return o, nil
}
