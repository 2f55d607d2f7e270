package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/embedded"
	"github.com/tradepulse/rotator/cmd/internal/httpd"
	"github.com/tradepulse/rotator/cmd/internal/page"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Run runs roles with the configuration that was read from the file at path, until ctx
// ends and everything in hand is done. At SIGHUP it loads the file again.
func Run(ctx context.Context, cfg *config.Config, path string, roles []string) (err error) {
	cli.IgnoreBrokenPipes()
	hangup, stop := cli.Hangups()
	defer stop()
	tel, err := cli.Telemetry(ctx, "rotator", cfg)
	if err != nil {
		return err
	}
	defer tel.Close(context.WithoutCancel(ctx))
	n := &node{cfg: cfg, path: path, hangup: hangup, roles: roles, tel: tel, log: tel.Logger}
	if id := cfg.HTTP.AdminToken; id != "" {
		n.acts = page.NewActs(secret.ID(id))
	}
	if n.page, err = page.NewActing("rotator", "", n.ready.checks(), n.log, n.acts); err != nil {
		return err
	}
	return n.run(ctx)
}

// node is one process of rotator that runs.
type node struct {
	cfg    *config.Config
	path   string
	hangup <-chan os.Signal
	roles  []string
	tel    *telemetry.Telemetry
	log    *slog.Logger
	server *embedded.Server
	ready  readiness
	page   *page.Page
	acts   *page.Acts // nil while the page is read only
}

// run serves health at once, so that a node that waits for its bus can be seen
// to wait.
func (n *node) run(ctx context.Context) error {
	if err := n.unused(); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	if listen := n.cfg.HTTP.Listen; listen != "none" {
		srv, err := httpd.Listen(ctx, httpd.Config{Listen: listen, Metrics: n.tel.Metrics, Checks: n.ready.checks(), Handlers: n.page.Handlers(), Logger: n.log})
		if err != nil {
			return fmt.Errorf("http.listen: %w; choose another address, or none", err)
		}
		n.log.LogAttrs(ctx, slog.LevelInfo, "http.listening", slog.String("url", srv.URL()))
		g.Go(func() error { return srv.Run(ctx) })
		g.Go(func() error { return n.page.Run(ctx) })
	}
	g.Go(func() error { return n.work(ctx) })
	return g.Wait()
}

// unused returns an error when another process has the data directory of a single
// node. It comes before the addresses, which that process has as well.
func (n *node) unused() error {
	if !n.cfg.SingleNode() {
		return nil
	}
	dir, err := n.cfg.DataDir(os.LookupEnv)
	if err != nil {
		return err
	}
	return embedded.Unused(filepath.Join(dir, "nats"))
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
		Config: n.cfg, Role: strings.Join(n.roles, "+"), Connect: connect, DataDir: dir, Make: true, Stores: true, Logger: n.log, Waiting: &n.ready.waiting,
		Forwards: n.cfg.SingleNode() || slices.Contains(n.roles, Notifier), // a notifier beside a single node makes nothing itself
	})
	if err != nil {
		return startup(ctx, err)
	}
	monitor, err := n.watch(parts)
	if err != nil {
		return errors.Join(err, parts.Close())
	}
	n.ready.set(monitor)
	n.page.Show(&inspect.Inspector{Catalog: parts.Catalog, Stores: parts.Stores, Bus: parts.Bus, Readers: wire.KnownReaders(n.cfg), Once: true})
	n.connect(parts)
	n.log.LogAttrs(ctx, slog.LevelInfo, "rotator.started", slog.String("version", cli.Version()), slog.String("roles", strings.Join(n.roles, ",")),
		slog.Int("secrets", len(parts.Specs())), slog.Bool("single_node", n.cfg.SingleNode()))
	err = n.serve(ctx, parts, monitor)
	n.ready.set(nil)
	n.page.Show(nil)
	n.connect(nil)
	n.log.LogAttrs(ctx, slog.LevelInfo, "rotator.drained")
	return errors.Join(err, parts.Close())
}

// connect lets persons act on the page, or not any more.
func (n *node) connect(p *wire.Parts) {
	if n.acts != nil {
		n.acts.Connect(p)
	}
}

// startup drops the error of a start that was ended on purpose.
func startup(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end was asked for
	}
	return err
}
