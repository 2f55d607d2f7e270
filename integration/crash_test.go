package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// crashEnv makes the test binary a worker process, see TestMain.
const crashEnv = "ROTATOR_CRASH_WORKER"

// crashOrder is what a worker process is told.
type crashOrder struct {
	URL    string
	Master []byte
	Signer []byte
	Spec   secret.Spec
	// Service is where the secrets are.
	Service service
	// DieAt is the boundary at which the process kills itself, counted from 1;
	// 0 lets it live.
	DieAt int64
}

func TestMain(m *testing.M) {
	if order := os.Getenv(crashEnv); order != "" {
		os.Exit(crashWorker(order))
	}
	if order := os.Getenv(silentEnv); order != "" {
		os.Exit(silentService(order))
	}
	if order := os.Getenv(soakEnv); order != "" {
		os.Exit(soakInstance(order))
	}
	code := m.Run()
	for _, dir := range []string{build.dir, prometheusBuild.dir} {
		if dir != "" {
			_ = os.RemoveAll(dir) // temporary, and the system's to clean
		}
	}
	os.Exit(code)
}

// TestKilledAtEveryStep kills a worker process with SIGKILL before and after
// every call that a rotation makes to the store and to the bus, one boundary
// per round, starts another, and demands one new version, announced once.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for name, service := range services {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killedAtEveryStep(t, service(t))
		})
	}
}

func killedAtEveryStep(t *testing.T, where service) {
	t.Helper()
	b := startBroker(t, true)
	s := newSiteWith(t, b, events.StreamOptions{AckWait: time.Second})
	s.backend = where
	nc := b.connect()
	defer nc.Close()
	bus := s.bus(nc, "test")
	var names []string
	for at := int64(1); ; at++ {
		spec := secret.Spec{ID: secret.ID(fmt.Sprintf("CRASH_%02d", at)), Store: "embedded", TTL: time.Hour}
		s.specs = []secret.Spec{spec}
		s.seed()
		name, died := s.killedRound(t, bus, spec, at)
		s.survived(t, nc, bus, spec, "killed "+name)
		if !died {
			break
		}
		names = append(names, name)
	}
	t.Logf("killed at %d boundaries: %s", len(names), strings.Join(names, ", "))
	for _, want := range []string{"before store.describe", "after store.put", "after store.promote", "before bus.publish secret.rotated", "after bus.publish secret.rotated", "after bus.arm", "before ack"} {
		if !slices.Contains(names, want) {
			t.Errorf("no worker was killed %q", want)
		}
	}
}

// killedRound rotates one secret with a worker that dies at boundary at and,
// if it did, with one that lives. It returns the name of the boundary.
func (s *site) killedRound(t *testing.T, bus *events.Bus, spec secret.Spec, at int64) (string, bool) {
	t.Helper()
	nc := s.broker.connect()
	defer nc.Close()
	from := describe(t, s.catalog(nc), spec.ID).Current()
	if err := bus.RotateNow(t.Context(), manual(spec, from.ID)); err != nil {
		t.Fatal(err)
	}
	first := s.startWorker(t, spec, at)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = first.cmd.Wait() // what it means is in ProcessState
	}()
	died := false
	waittest.Until(t, "the worker has died or finished", func() error {
		select {
		case <-done:
			died = true
			return nil
		default:
			return rotatedFrom(t.Context(), bus, nc, spec.ID, from.ID)
		}
	})
	if !died {
		terminate(t, first.cmd)
		<-done
		return "nowhere", false
	}
	if !killed(first.cmd) {
		t.Fatalf("the worker ended by itself: %s", first.out)
	}
	second := s.startWorker(t, spec, 0)
	waittest.Until(t, "the second worker has finished the rotation", func() error { return rotatedFrom(t.Context(), bus, nc, spec.ID, from.ID) })
	second.end(t)
	return first.boundary(), true
}

// rotatedFrom returns an error while the last step of a rotation has not been
// taken, which is the timer of the next one. A queue that is empty is not enough:
// a try that failed waits in a timer.
func rotatedFrom(ctx context.Context, bus *events.Bus, nc *nats.Conn, id secret.ID, from secret.VersionID) error {
	timer, err := bus.Timer(ctx, events.TypeNearExpiry, id)
	if err != nil {
		return err
	}
	if v := timer.Event.Data.VersionID; v == "" || v == from {
		return fmt.Errorf("the timer is for %q", v)
	}
	return queueEmpty(ctx, nc)
}

// queueEmpty returns an error while a worker still has something to do.
func queueEmpty(ctx context.Context, nc *nats.Conn) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	c, err := js.Consumer(ctx, events.Names{}.RotationStream(), events.WorkerConsumer)
	if err != nil {
		return err
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	if info.NumPending > 0 || info.NumAckPending > 0 {
		return fmt.Errorf("%d messages wait, %d are in hand", info.NumPending, info.NumAckPending)
	}
	return nil
}

// survived demands what must be true of one rotation after the first version,
// whatever has happened to it.
func (s *site) survived(t *testing.T, nc *nats.Conn, bus *events.Bus, spec secret.Spec, what string) {
	t.Helper()
	meta := describe(t, s.catalog(nc), spec.ID)
	if len(meta.Versions) != 2 {
		t.Errorf("%s: %d versions, want the old and one new", what, len(meta.Versions))
	}
	if p, ok := meta.At(secret.StagePending); ok {
		t.Errorf("%s: %s is left pending", what, p.ID)
	}
	prev, _ := meta.At(secret.StagePrevious)
	if want := spec.TokenIn(meta.Incarnation, prev.ID, 0); meta.Current().Token != want {
		t.Errorf("%s: current carries token %s, want %s", what, meta.Current().Token, want)
	}
	if got := countVersion(logOf(t, nc, events.TypeRotated)[spec.ID], meta.Current().ID); got != 1 {
		t.Errorf("%s: secret.rotated stands %d times in the log", what, got)
	}
	timer, err := bus.Timer(t.Context(), events.TypeNearExpiry, spec.ID)
	if err != nil || timer.Event.Data.VersionID != meta.Current().ID {
		t.Errorf("%s: timer %+v, err %v; want one for %s", what, timer.Event.Data, err, meta.Current().ID)
	}
}

func countVersion(log []events.Data, v secret.VersionID) int {
	n := 0
	for _, x := range log {
		if x.VersionID == v {
			n++
		}
	}
	return n
}

func manual(spec secret.Spec, from secret.VersionID) events.Event {
	now := time.Now()
	return events.Event{
		ID: string(secret.NewToken(spec.ID, from, "manual "+now.String(), 0)), Type: events.TypeNearExpiry, Source: "/test", Time: now,
		Data: events.Data{SecretID: spec.ID, Store: spec.Store, VersionID: from, Reason: events.ReasonManual, OccurredAt: now},
	}
}

// workerProcess is a worker in a process of its own.
type workerProcess struct {
	cmd *exec.Cmd
	out *bytes.Buffer
}

func (s *site) startWorker(t *testing.T, spec secret.Spec, dieAt int64) *workerProcess {
	t.Helper()
	order, err := json.Marshal(crashOrder{URL: s.broker.server.Load().ClientURL(), Master: s.master, Signer: s.keys.seed, Spec: spec, Service: s.backend, DieAt: dieAt})
	if err != nil {
		t.Fatal(err)
	}
	w := &workerProcess{cmd: exec.Command(os.Args[0]), out: &bytes.Buffer{}}
	w.cmd.Env = append(os.Environ(), crashEnv+"="+string(order))
	w.cmd.Stdout, w.cmd.Stderr = w.out, w.out
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(w.cmd) })
	return w
}

func (w *workerProcess) end(t *testing.T) {
	t.Helper()
	terminate(t, w.cmd)
	if err := w.cmd.Wait(); err != nil {
		t.Errorf("the worker that was told to end: %v\n%s", err, w.out)
	}
}

// boundary returns the last boundary that the process reached.
func (w *workerProcess) boundary() string {
	lines := strings.Split(strings.TrimSpace(w.out.String()), "\n")
	return strings.TrimPrefix(lines[len(lines)-1], "at ")
}

// terminate asks a process to drain.
func terminate(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// kill ends a process that may have ended by itself.
func kill(cmd *exec.Cmd) {
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		panic(err)
	}
}

func killed(cmd *exec.Cmd) bool {
	ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// crashWorker is the worker process: a rotation with a boundary before and
// after every call.
func crashWorker(text string) int {
	var o crashOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Println(err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := o.work(ctx); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func (o crashOrder) work(ctx context.Context) error {
	nc, err := nats.Connect(o.URL)
	if err != nil {
		return err
	}
	defer nc.Close()
	b := &boundaries{dieAt: o.DieAt}
	bus, catalog, err := o.open(ctx, nc, b)
	if err != nil {
		return err
	}
	r, err := rotation.New(rotation.Config{Catalog: catalog, Stores: catalog.stores, Bus: crashBus{bus, b}, Timers: crashBus{bus, b}, Source: "/test/crash", RetryBase: time.Second})
	if err != nil {
		return err
	}
	return bus.Consume(ctx, events.ConsumeConfig{Consumer: events.WorkerConsumer, Retry: r.Retry}, func(ctx context.Context, d events.Delivery) error {
		err := r.Handle(ctx, d)
		b.reach("before ack")
		return err
	})
}

// boundaries counts the places where a process may die.
type boundaries struct {
	dieAt int64
	n     atomic.Int64
}

func (b *boundaries) reach(name string) {
	fmt.Println("at", name)
	if b.n.Add(1) == b.dieAt {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

func around[T any](b *boundaries, name string, call func() (T, error)) (T, error) {
	b.reach("before " + name)
	v, err := call()
	b.reach("after " + name)
	return v, err
}

// crashBus is the real bus with a boundary around each call.
type crashBus struct {
	*events.Bus
	b *boundaries
}

func (c crashBus) Last(ctx context.Context, t events.Type, id secret.ID) (events.Announcement, error) {
	return around(c.b, "bus.last "+string(t), func() (events.Announcement, error) { return c.Bus.Last(ctx, t, id) })
}

func (c crashBus) PublishAfter(ctx context.Context, e events.Event, after uint64) (uint64, error) {
	return around(c.b, "bus.publish "+string(e.Type), func() (uint64, error) { return c.Bus.PublishAfter(ctx, e, after) })
}

func (c crashBus) Arm(ctx context.Context, e events.Event, at time.Time) (bool, error) {
	return around(c.b, "bus.arm", func() (bool, error) { return c.Bus.Arm(ctx, e, at) })
}

// crashDriver is the real driver with a boundary around each call.
type crashDriver struct {
	store.Driver
	b *boundaries
}

func (c crashDriver) Describe(ctx context.Context, path string) (secret.Metadata, error) {
	return around(c.b, "store.describe", func() (secret.Metadata, error) { return c.Driver.Describe(ctx, path) })
}

func (c crashDriver) Get(ctx context.Context, path string, sel store.Selector) (secret.Version, secret.Value, error) {
	type both struct {
		v   secret.Version
		val secret.Value
	}
	r, err := around(c.b, "store.get", func() (both, error) {
		v, val, err := c.Driver.Get(ctx, path, sel)
		return both{v, val}, err
	})
	return r.v, r.val, err
}

func (c crashDriver) Put(ctx context.Context, path string, w store.Write) (secret.Version, error) {
	return around(c.b, "store.put", func() (secret.Version, error) { return c.Driver.Put(ctx, path, w) })
}

func (c crashDriver) Promote(ctx context.Context, path string, from, to secret.VersionID) error {
	_, err := around(c.b, "store.promote", func() (struct{}, error) { return struct{}{}, c.Driver.Promote(ctx, path, from, to) })
	return err
}
