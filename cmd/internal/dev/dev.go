package dev

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/cmd/internal/embedded"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/notify"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// Options say how to run.
type Options struct {
	// For is how long to run; 0 ends at once, and negative is until ctx ends.
	For time.Duration
	// TTL is the lifetime of the two secrets. 0 means 8 s.
	TTL time.Duration
	// DataDir keeps the server's files. "" means a temporary folder that is
	// removed in the end.
	DataDir string
	// Terminal redraws; without it each event is a line on Out, and with JSON an object.
	Terminal, JSON bool
	Out            io.Writer
	// In has the keys of a terminal; nil is the standard input.
	In io.Reader
	// Logger gets the log; nil discards it.
	Logger *slog.Logger
}

// The two secrets, and the services that use them.
const (
	auditID      = secret.ID("TRADEPULSE_AUDIT_SECRET_ID")
	adminID      = secret.ID("TRADEPULSE_ADMIN_TOKEN_ID")
	auditService = "audit-api"
	adminService = "admin-api"
)

// settle is how long the end waits for the rollouts in flight.
const settle = 5 * time.Second

// ErrUnfinished means that a rollout did not converge or that an audit record does not verify.
var ErrUnfinished = errors.New("dev run is not clean")

// Run runs everything until ctx ends or Options.For is over, and returns what
// happened. The error wraps [ErrUnfinished] when a rotation other than the one
// in flight did not reach every service, or an audit record does not verify.
func Run(ctx context.Context, o Options) (Summary, error) {
	if o.For == 0 {
		return Summary{}, nil
	}
	o.TTL = cmp.Or(o.TTL, 8*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.DataDir == "" {
		dir, err := os.MkdirTemp("", "rotator-dev-")
		if err != nil {
			return Summary{}, fmt.Errorf("dev: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // temporary, and the system's to clean
		o.DataDir = dir
	}
	n, err := newNode(ctx, o)
	if err != nil {
		return Summary{}, fmt.Errorf("dev: %w", err)
	}
	defer n.close()
	return n.run(ctx)
}

// node is the whole system in this process.
type node struct {
	o       Options
	server  *embedded.Server
	nc      *nats.Conn
	bus     *events.Bus
	catalog *catalog.Catalog
	stores  *store.Set
	source  client.Source
	specs   []secret.Spec
	board   *board
	faults  *faults
	signer  *events.Signer
	audit   *os.File
}

func newNode(ctx context.Context, o Options) (*node, error) {
	n := &node{o: o, specs: specs(o.TTL)}
	n.faults = &faults{n: n, trouble: trouble}
	n.board = newBoard([]secret.ID{auditID, adminID}, func(l line) {
		switch {
		case o.JSON:
			_ = json.NewEncoder(o.Out).Encode(l.object()) // as with Fprintln, the summary is what counts
		case !o.Terminal:
			fmt.Fprintln(o.Out, strings.Join(l.wrapped(lineWidth), "\n"))
		}
	})
	var err error
	if n.server, err = embedded.Start(ctx, embedded.Options{StoreDir: filepath.Join(o.DataDir, "nats"), Logger: o.Logger}); err != nil {
		return nil, err
	}
	if err := n.open(ctx); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// open connects and prepares the streams, the store and the audit file.
func (n *node) open(ctx context.Context) error {
	var err error
	public, err := n.server.Operator.PublicKey()
	if err != nil {
		return err
	}
	n.nc, err = events.Connect(ctx, events.ConnectConfig{Name: "rotator dev", NKey: public, Sign: n.server.Operator.Sign, InProcess: n.server.Server, Logger: n.o.Logger})
	if err != nil {
		return err
	}
	signer, err := events.GenerateSigner()
	if err != nil {
		return err
	}
	n.signer = signer
	n.bus, err = events.New(n.nc, events.Config{Source: "/rotator/dev", Signer: signer, Verifier: events.NewVerifier(signer.Public()), Logger: n.o.Logger})
	if err != nil {
		return err
	}
	if err := n.bus.EnsureStreams(ctx, events.StreamOptions{}); err != nil {
		return err
	}
	if err = n.openStore(ctx); err != nil {
		return err
	}
	n.audit, err = os.OpenFile(filepath.Join(n.o.DataDir, "audit.log"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	return err
}

func (n *node) openStore(ctx context.Context) error {
	js, err := jetstream.New(n.nc)
	if err != nil {
		return err
	}
	master := make([]byte, natskv.MasterKeySize)
	if _, err := rand.Read(master); err != nil {
		return err
	}
	d, err := natskv.Open(ctx, natskv.Config{JS: js, MasterKey: master})
	if err != nil {
		return err
	}
	st, err := store.New("embedded", d, &store.Options{Logger: n.o.Logger})
	if err != nil {
		return err
	}
	if n.stores, err = store.NewSet(st); err != nil {
		return err
	}
	if n.catalog, err = catalog.New(catalog.Config{Stores: n.stores, Specs: n.specs}); err != nil {
		return err
	}
	n.source, err = client.FromSpecs(n.stores.All(), n.specs)
	return err
}

// specs are the two secrets of the TradePulse platform with lives of seconds.
// The signing key keeps its old versions: what they signed is verified in the
// end.
func specs(ttl time.Duration) []secret.Spec {
	base := secret.Spec{Store: "embedded", TTL: ttl, RefreshMargin: ttl / 3, Fence: fence(ttl), Grace: time.Second, Deadline: max(ttl/2, 2*time.Second), Create: true}
	audit, admin := base, base
	audit.ID, audit.Services, audit.Retire = auditID, []string{auditService}, secret.RetireKeep
	admin.ID, admin.Services = adminID, []string{adminService}
	return []secret.Spec{audit, admin}
}

// fence is short enough for several retirements in a run. The records of uses have
// it in whole seconds.
func fence(ttl time.Duration) time.Duration { return min(time.Second, ttl/4) }

func (n *node) close() {
	if n.nc != nil {
		n.nc.Close()
	}
	if n.audit != nil {
		_ = n.audit.Close() // it was read before
	}
	n.server.Close()
}

// run starts every part, shows what happens, and checks the result.
func (n *node) run(ctx context.Context) (Summary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	for _, part := range []func(context.Context) error{n.watchLog, n.watchFleet, n.look, n.scheduler, n.worker, n.worker, n.notifier, n.services} {
		g.Go(func() error { return part(gctx) })
	}
	if n.o.For > 0 {
		t := time.AfterFunc(n.o.For, cancel)
		defer t.Stop()
	}
	if n.o.Terminal {
		g.Go(func() error { return n.view(gctx, cancel) })
		g.Go(func() error { return n.faults.script(gctx) })
	}
	err := g.Wait()
	if err == nil {
		err = n.verify(context.WithoutCancel(ctx))
	}
	if n.o.Terminal { // the view is gone, and with it what happened last
		fmt.Fprint(n.o.Out, n.board.last(12))
	}
	return n.board.summary(), err
}

func (n *node) view(ctx context.Context, stop func()) error {
	opts := []tea.ProgramOption{tea.WithContext(ctx), tea.WithOutput(n.o.Out), tea.WithAltScreen(), tea.WithoutSignalHandler()}
	if n.o.In != nil {
		opts = append(opts, tea.WithInput(n.o.In))
	}
	p := tea.NewProgram(model{b: n.board, stop: stop, press: func(key string) { n.faults.press(ctx, key) }}, opts...)
	if _, err := p.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("dev: view: %w", err)
	}
	return nil
}

func (n *node) watchLog(ctx context.Context) error {
	types := []events.Type{events.TypeRotated, events.TypeRollout, events.TypeRotationFailed}
	return ended(ctx, n.bus.WatchLog(ctx, types, func(_ context.Context, a events.Announcement) error {
		n.board.logged(a.Event)
		return nil
	}, nil))
}

func (n *node) watchFleet(ctx context.Context) error {
	return ended(ctx, n.bus.WatchFleet(ctx, func(e events.FleetEvent) error {
		switch {
		case e.Use != nil:
			n.board.used(*e.Use)
		case e.Presence != nil && e.Presence.Ended:
			n.board.ended(*e.Presence)
		}
		return nil
	}))
}

// look reads what no event tells: whether a version is pending, and when the
// next rotation is due.
func (n *node) look(ctx context.Context) error {
	tick := time.NewTicker(frame)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			for _, spec := range n.specs {
				n.lookAt(ctx, spec)
			}
		}
	}
}

func (n *node) lookAt(ctx context.Context, spec secret.Spec) {
	meta, err := n.stores.Describe(ctx, spec.Store, spec.StorePath())
	if err != nil {
		return // it is made within the first second
	}
	_, pending := meta.At(secret.StagePending)
	at, err := spec.RotateAt(meta)
	if err == nil {
		n.board.looked(spec.ID, pending, at)
	}
}

func (n *node) scheduler(ctx context.Context) error {
	s, err := scheduler.New(scheduler.Config{Catalog: n.catalog, Stores: n.stores, Bus: n.bus, Source: "/rotator/dev/scheduler", SweepEvery: 2 * time.Second, Logger: n.o.Logger})
	if err != nil {
		return err
	}
	return ended(ctx, s.Run(ctx))
}

// workerSource names the worker in its events.
const workerSource = "/rotator/dev/worker"

func (n *node) worker(ctx context.Context) error {
	r, err := rotation.New(rotation.Config{Catalog: n.catalog, Stores: n.stores, Bus: n.bus, Timers: n.bus, Source: workerSource, Logger: n.o.Logger, RetryBase: time.Second})
	if err != nil {
		return err
	}
	return n.bus.Consume(ctx, events.ConsumeConfig{Consumer: events.WorkerConsumer, Concurrency: 2, Retry: r.Retry}, func(ctx context.Context, d events.Delivery) error {
		if d.Event.Type == events.TypeNearExpiry {
			n.board.nearExpiry(d.Event.Data)
		}
		return r.Handle(ctx, d)
	})
}

func (n *node) notifier(ctx context.Context) error {
	nt, err := notify.New(notify.Config{Bus: n.bus, Catalog: n.catalog, Source: "/rotator/dev/notifier", Logger: n.o.Logger})
	if err != nil {
		return err
	}
	return nt.Run(ctx)
}

// ended drops the error of a part that was ended on purpose.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end was asked for
	}
	return err
}
