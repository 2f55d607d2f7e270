package dev

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

const (
	// instances is how many processes the service with the token has.
	instances = 3
	// freezeAfter is when the scripted freeze begins on a terminal.
	freezeAfter = 20 * time.Second
	trouble     = 12 * time.Second
)

// instance is one process of the service with the token.
type instance struct {
	name   string
	gate   *gate
	source client.Source
	broken atomic.Bool
	hurt   atomic.Bool // its uses may fail since something was done to it
	kill   context.CancelFunc
}

// short is the name without that of the service.
func (i *instance) short() string { return i.name[len(adminService)+1:] }

// faults are what a person does to the instances.
type faults struct {
	n    *node
	mu   sync.Mutex
	busy bool // one fault at a time
	all  []*instance
	used atomic.Bool
	// trouble is how long each fault lasts.
	trouble time.Duration
}

// keys are the keys of a terminal, and what each does.
func (f *faults) keys() map[string]func(context.Context) {
	return map[string]func(context.Context){"f": f.freeze, "k": f.killOne, "b": f.breakReload, "c": f.cut, "w": f.wrong}
}

// press does what a key means, unless a fault is there already.
func (f *faults) press(ctx context.Context, key string) {
	do, ok := f.keys()[key]
	f.mu.Lock()
	defer f.mu.Unlock()
	if !ok || f.busy || len(f.all) < instances {
		return
	}
	f.busy = true
	f.used.Store(true)
	go func() {
		do(ctx)
		f.mu.Lock()
		f.busy = false
		f.mu.Unlock()
	}()
}

// script freezes an instance, so that a newcomer sees what happens then.
func (f *faults) script(ctx context.Context) error {
	if wait(ctx, freezeAfter) {
		f.press(ctx, "f")
	}
	<-ctx.Done()
	return nil
}

// wait waits, and reports false if ctx ended before.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (f *faults) say(kind, format string, args ...any) {
	f.n.board.mu.Lock()
	defer f.n.board.mu.Unlock()
	f.n.board.say(kind, adminID, format, args...)
}

// last returns the instance that is hurt: the last one.
func (f *faults) last() *instance { return f.all[instances-1] }

func (f *faults) freeze(ctx context.Context) {
	i := f.last()
	i.hurt.Store(true)
	i.gate.hold(true)
	f.say("you.froze", "%s is stopped for %s. It may still use its version, so that one does NOT die, however many rotations follow. What ends the wait: %s is heard again, or a person says it is gone (rotator forget)", i.name, f.trouble, i.name)
	wait(ctx, f.trouble)
	i.gate.hold(false)
	f.say("you.thawed", "%s goes on. It reports what it uses, and the old versions can die", i.name)
}

func (f *faults) killOne(ctx context.Context) {
	i := f.last()
	killed := f.processes(ctx, i)
	i.hurt.Store(true)
	i.gate.hold(true)
	f.mu.Lock()
	kill := i.kill
	f.mu.Unlock()
	kill()
	f.say("you.killed", "%s is gone without a word. Nothing shows that it does not run any more, so its version does NOT die. It starts again in %s", i.name, f.trouble)
	wait(ctx, f.trouble)
	i.gate.hold(false)
	f.say("you.restarted", "%s runs again, as another process. The one before is still missing: only a person who knows that it is gone ends the wait (rotator forget)", i.name)
	if wait(ctx, f.trouble/2) {
		f.forget(ctx, i, killed)
	}
}

// processes returns the incarnations of an instance that are on record.
func (f *faults) processes(ctx context.Context, i *instance) (out []string) {
	fleet, err := f.n.bus.Instance(ctx, adminService, i.short(), "")
	if err != nil {
		f.say("you.failed", "the records of %s cannot be read: %v", i.name, err)
	}
	for _, u := range fleet.Users {
		out = append(out, u.Use.Incarnation)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// forget does what a person does who knows that processes are gone.
func (f *faults) forget(ctx context.Context, i *instance, gone []string) {
	p := &wire.Parts{Bus: f.n.bus, Source: "/rotator/dev/cli"}
	for _, incarnation := range gone {
		why := operator.Reason{Text: "it was killed in the demo", By: "you", Incarnation: incarnation}
		if _, err := operator.ForgetInstance(ctx, p, adminService, i.short(), why); err != nil && ctx.Err() == nil {
			f.say("you.failed", "%s is not forgotten: %v", i.name, err)
			return
		}
	}
	f.say("you.forgot", "the demo has said for you that the process that was killed is gone (rotator forget %s). Its records are removed, and the old versions can die", i.name)
}

func (f *faults) breakReload(ctx context.Context) {
	i := f.last()
	i.broken.Store(true)
	f.say("you.broke", "%s refuses new versions for %s: it keeps the old one, which does NOT die", i.name, f.trouble)
	wait(ctx, f.trouble)
	i.broken.Store(false)
	f.say("you.mended", "%s takes new versions again", i.name)
}

func (f *faults) cut(ctx context.Context) {
	for _, i := range f.all {
		i.hurt.Store(true)
		i.gate.hold(true)
	}
	f.say("you.cut", "no instance reaches the bus for %s. The service works on with what it has, and nothing dies", f.trouble)
	wait(ctx, f.trouble)
	for _, i := range f.all {
		i.gate.hold(false)
	}
	f.say("you.joined", "the bus is back")
}

func (f *faults) wrong(ctx context.Context) {
	f.say("you.deployed", "a fourth instance, which reads the store of another environment, for %s. It reports a version that this store does not have, so no old version dies", f.trouble)
	ctx, cancel := context.WithTimeout(ctx, f.trouble)
	defer cancel()
	spec, err := f.n.source.Spec(adminID)
	if err != nil {
		f.say("you.failed", "the instance does not start: %v", err)
		return
	}
	i := &instance{name: adminService + "/wrong", gate: newGate(f.n.server.Server), source: elsewhere{fence: spec.Fence}}
	i.hurt.Store(true)
	if err := f.n.process(ctx, i); err != nil && ctx.Err() == nil {
		f.say("you.failed", "the instance does not start: %v", err)
	}
	f.say("you.withdrew", "the fourth instance has ended")
}

// elsewhere is the store of another environment.
type elsewhere struct{ fence time.Duration }

func (e elsewhere) Spec(id secret.ID) (secret.Spec, error) {
	return secret.Spec{ID: id, Store: "staging", Fence: e.fence}, nil
}

func (elsewhere) Describe(_ context.Context, id secret.ID) (secret.Metadata, error) {
	return secret.Metadata{Path: string(id), Versions: []secret.Version{{ID: "staging-1", Stage: secret.StageCurrent}}}, nil
}

func (elsewhere) Read(context.Context, secret.ID, store.Selector) (secret.Version, secret.Value, error) {
	return secret.Version{ID: "staging-1", Stage: secret.StageCurrent}, secret.NewValue([]byte("Staging-Token-Of-Another-Place-1")), nil
}

// errBroken is what a reload that is broken says.
var errBroken = errors.New("the reload is broken")

// admins runs the instances of the service with the token.
func (n *node) admins(ctx context.Context) error {
	done := make(chan error, instances)
	n.faults.mu.Lock()
	for k := range instances {
		i := &instance{name: fmt.Sprintf("%s/demo-%d", adminService, k+1), gate: newGate(n.server.Server), source: n.source}
		n.faults.all = append(n.faults.all, i)
		go func() { done <- n.lives(ctx, i) }()
	}
	n.faults.mu.Unlock()
	var errs []error
	for range instances {
		errs = append(errs, <-done)
	}
	return errors.Join(errs...)
}

// lives runs an instance, again after it was killed.
func (n *node) lives(ctx context.Context, i *instance) error {
	for ctx.Err() == nil {
		life, kill := context.WithCancel(ctx)
		n.faults.mu.Lock()
		i.kill = kill
		n.faults.mu.Unlock()
		err := n.process(life, i)
		kill()
		if err != nil && !i.hurt.Load() {
			return err
		}
		if ctx.Err() == nil {
			i.gate.wait()
		}
	}
	return nil
}

// process runs one process: a connection, a Manager and its load.
func (n *node) process(ctx context.Context, i *instance) error {
	bus, closeBus, err := n.connect(ctx, i.gate)
	if err != nil {
		return ended(ctx, err)
	}
	defer closeBus()
	m, err := client.New(ctx, client.Config{
		Service: adminService, Instance: i.short(), Source: i.source, IDs: []secret.ID{adminID}, Bus: bus, Lease: lease, Logger: n.o.Logger,
	})
	if err != nil {
		return ended(ctx, err)
	}
	_, err = m.Subscribe(ctx, adminID, func(context.Context, client.Change) error {
		if i.broken.Load() {
			return errBroken
		}
		return nil
	})
	if err == nil {
		err = n.adminLoad(ctx, m, i)
	}
	if i.gate.held() { // it was killed: nothing is said any more
		return err
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	return errors.Join(err, m.Close(closing))
}

// connect returns a bus on a connection of its own.
func (n *node) connect(ctx context.Context, g *gate) (*events.Bus, func(), error) {
	public, err := n.server.Operator.PublicKey()
	if err != nil {
		return nil, nil, err
	}
	nc, err := events.Connect(ctx, events.ConnectConfig{Name: "rotator dev instance", NKey: public, Sign: n.server.Operator.Sign, InProcess: g, Logger: n.o.Logger})
	if err != nil {
		return nil, nil, err
	}
	bus, err := events.New(nc, events.Config{Source: "/rotator/dev/instance", Signer: n.signer, Verifier: events.NewVerifier(n.signer.Public()), Logger: n.o.Logger})
	return bus, nc.Close, err
}
