//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/cmd/internal/agent"
	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/httpd"
	"github.com/tradepulse/rotator/cmd/internal/running"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

func agentCommands(path *string) []*cobra.Command {
	var once bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Keep secrets in files for programs that have no client",
		Long: `Keeps the files under agent.files: writes each new version in one step, signals
the process or runs the command of the file, and reports the version as applied
only when both succeeded. What fails is reported with its reason and tried again.

It reads the stores with its own credentials. With --once it writes every file,
tells no program, and ends: for what runs before the program starts. SIGTERM and
Ctrl-C drain: a delivery in hand finishes. At SIGHUP it loads its file again, and
takes over secrets, defaults and the section agent; its log says what has changed,
and what needs a restart. A file that is wrong changes nothing.

Exit codes:
  0  it was told to stop, or with --once every file is written
  1  it failed, or with --once a file could not be written in time
  2  the command line or the configuration is wrong`,
		Example: `  notifier agent --config docs/examples/agent.yaml
  notifier agent --once --wait 2m --config docs/examples/agent.yaml`,
		Args: cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := cli.Load(cmd, *path)
			if err != nil {
				return err
			}
			if len(cfg.Agent.Files) == 0 {
				return cli.UsageError{Err: fmt.Errorf("%s has no agent.files", *path)}
			}
			if once {
				ctx, cancel := context.WithTimeout(cmd.Context(), wait)
				defer cancel()
				return writeOnce(ctx, cfg, wait)
			}
			return runAgent(cmd.Context(), cfg, *path)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "write every file and end")
	cmd.Flags().DurationVar(&wait, "wait", time.Minute, "with --once, how long to try")
	return []*cobra.Command{cmd}
}

// files returns the files of the configuration; logger is that of commands.
func files(cfg *config.Config, logger *slog.Logger) ([]agent.File, error) {
	var out []agent.File
	for i, f := range cfg.Agent.Files {
		mode, err := f.FileMode()
		if err != nil {
			return nil, err // the schema has refused it before
		}
		one := agent.File{ID: secret.ID(f.ID), Path: f.Path, Mode: mode}
		if one.UID, err = number(f.Owner, owner); err == nil {
			one.GID, err = number(f.Group, group)
		}
		if err != nil {
			return nil, fmt.Errorf("agent.files[%d]: %w", i, err)
		}
		switch {
		case f.Signal != nil:
			one.Reload = agent.Signal{Signal: agent.Signals()[f.Signal.Name], PIDFile: f.Signal.PIDFile, PID: f.Signal.PID, Written: time.Now()}
		case f.Command != nil:
			one.Reload = agent.Command{Argv: f.Command.Argv, Timeout: time.Duration(f.Command.Timeout), Logger: logger}
			one.Before = f.Command.Before
		}
		out = append(out, one)
	}
	return out, nil
}

// number returns the number of a user or a group that is given by name or
// number, and -1 for none.
func number(name string, find func(string) (string, error)) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	id, err := find(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id)
}

func owner(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func group(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

func runAgent(ctx context.Context, cfg *config.Config, path string) (err error) {
	cli.IgnoreBrokenPipes()
	hangup, stop := cli.Hangups()
	defer stop()
	tel, err := cli.Telemetry(ctx, "notifier-agent", cfg)
	if err != nil {
		return err
	}
	defer tel.Close(context.WithoutCancel(ctx))
	keep, err := files(cfg, tel.Logger)
	if err != nil {
		return err
	}
	var a agentState
	g, ctx := errgroup.WithContext(ctx)
	if listen := cfg.HTTP.AgentListen; listen != "none" {
		srv, err := httpd.Listen(ctx, httpd.Config{Listen: listen, Metrics: tel.Metrics, Checks: []httpd.Check{a.check()}, Logger: tel.Logger})
		if err != nil {
			return fmt.Errorf("http.agent_listen: %w; choose another address, or none", err)
		}
		tel.Logger.LogAttrs(ctx, slog.LevelInfo, "http.listening", slog.String("url", srv.URL()))
		g.Go(func() error { return srv.Run(ctx) })
	}
	r := &agentRun{cfg: cfg, files: keep, next: make(chan agentRun), tel: tel, state: &a}
	loads := &running.Agent{Config: cfg, File: path, Environ: os.Environ(), Apply: r.apply(keep, path), Hangup: hangup, Logger: tel.Logger}
	g.Go(func() error { return loads.Run(ctx) })
	g.Go(func() error { return r.run(ctx) })
	return g.Wait()
}

// agentState answers /readyz.
type agentState struct {
	waiting wire.Waiting
	agent   atomic.Pointer[agent.Agent]
}

func (s *agentState) check() httpd.Check {
	return httpd.Check{Name: "files", Probe: func(context.Context) error {
		if a := s.agent.Load(); a != nil {
			return a.Ready()
		}
		return s.waiting.Err()
	}}
}

func keepFiles(ctx context.Context, cfg *config.Config, keep []agent.File, tel *telemetry.Telemetry, state *agentState) error {
	o, err := options(cfg, "agent", tel.Logger)
	if err != nil {
		return err
	}
	o.Stores, o.Listen, o.Waiting = true, true, &state.waiting
	p, err := wire.Open(ctx, o)
	if err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was asked for
		}
		return err
	}
	source, err := client.FromSpecs(p.Stores.All(), p.Specs())
	if err != nil {
		return errors.Join(err, p.Close())
	}
	a := agent.New(agent.Config{
		Service: cfg.Agent.Service, Fleet: cfg.Agent.Fleet, Files: keep, Source: source, Bus: p.Bus,
		PollInterval: time.Duration(cfg.Agent.PollEvery), Logger: tel.Logger,
	})
	state.agent.Store(a)
	tel.Logger.LogAttrs(ctx, slog.LevelInfo, "agent.started", slog.String("version", cli.Version()), slog.Int("files", len(keep)))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return events.AwaitClose(ctx, p.Conn) })
	g.Go(func() error { return a.Run(ctx) })
	err = g.Wait()
	tel.Logger.LogAttrs(ctx, slog.LevelInfo, "agent.drained")
	return errors.Join(err, p.Close())
}

// writeOnce needs no bus unless a store is on it; it waits for one for a part of wait.
func writeOnce(ctx context.Context, cfg *config.Config, wait time.Duration) error {
	log, err := telemetry.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	keep, err := files(cfg, log)
	if err != nil {
		return err
	}
	o, err := options(cfg, "agent", log)
	if err != nil {
		return err
	}
	o.Waiting = new(wire.Waiting)
	stores, err := wire.OpenStores(ctx, o)
	if err != nil {
		return err
	}
	source, err := client.FromSpecs(stores.All(), stores.Specs())
	if err == nil {
		bus, closeBus := recordBus(ctx, o, wait/6)
		defer closeBus()
		err = agent.Once(ctx, agent.Config{Service: cfg.Agent.Service, Fleet: cfg.Agent.Fleet, Files: keep, Source: source, Bus: bus, Logger: log})
	}
	return errors.Join(err, stores.Close())
}

// recordBus returns the bus for what stays on record, or nil after wait: a program
// gets its secrets without it.
func recordBus(ctx context.Context, o wire.Options, wait time.Duration) (*events.Bus, func()) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	o.Stores, o.Listen = false, true
	p, err := wire.Open(ctx, o)
	if err != nil {
		o.Logger.LogAttrs(ctx, slog.LevelError, "agent.not_joined", slog.String("error", err.Error()),
			slog.String("message", "a rotation cannot see which versions the programs use"))
		return nil, func() {}
	}
	return p.Bus, func() { _ = p.Close() } // everything was acknowledged
}
