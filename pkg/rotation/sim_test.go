package rotation

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/target"
)

var (
	simSeeds = flag.Int("sim.seeds", defaultSeeds, "how many seeds TestSimulation runs")
	simSeed  = flag.Int64("sim.seed", -1, "run this one seed and print what happens")
)

// TestSimulation drives rotations through seeded interleavings of deliveries,
// steps of up to three workers and of a platform that takes rotations in phases,
// crashes, redeliveries, lost answers, store and bus errors, a log that cannot
// be read, a target that refuses, writes of another program, a bus that
// forgets, and people who pause, resume, roll back and declare emergencies, and checks after every move that the secret is whole.
func TestSimulation(t *testing.T) {
	t.Parallel()
	first, n := int64(0), *simSeeds
	if *simSeed >= 0 {
		first, n = *simSeed, 1
	}
	rotations, rollbacks := 0, 0
	synctest.Test(t, func(t *testing.T) {
		for seed := first; seed < first+int64(n); seed++ {
			w := newWorld(t, uint64(seed), *simSeed >= 0)
			if err := w.live(); err != nil {
				t.Fatalf("seed %d: %v\nreplay: go test ./pkg/rotation -run TestSimulation -sim.seed=%d -v", seed, err, seed)
			}
			rotations += w.ours()
			rollbacks += w.people.rolledBack(w)
		}
	})
	if rollbacks == 0 && n > 1 {
		t.Error("no rollback reached its end")
	}
	t.Logf("%d seeds, %d rotations", n, rotations)
	if rotations < n {
		t.Errorf("%d seeds made %d rotations: the simulation has become too hostile to prove anything", n, rotations)
	}
}

const simID = secret.ID("SIM_SECRET")

var errFault = fmt.Errorf("%w: injected", store.ErrUnavailable)

// world is one secret, its store, its bus, and the workers on it.
type world struct {
	t       *testing.T
	rng     *rand.Rand
	say     func(format string, args ...any)
	spec    secret.Spec
	mem     *storetest.Mem
	st      *store.Store
	rot     *Rotator
	bus     *simBus
	flights []*flight
	plat    *simPlatform
	hosted  bool // the platform rotates the secret, too
	calm    bool // no more faults: the world has to come to rest
	paused  bool // a person has scheduled rotations wait
	people  simPeople

	// what invariants are checked against
	promoted  map[secret.VersionID]secret.VersionID // :: version → the one it replaced
	order     []secret.VersionID
	foreign   map[secret.VersionID]bool
	displaced map[secret.VersionID]bool // current versions that were replaced before a run could see that they were never announced
}

// flight is a worker in the middle of a rotation.
type flight struct {
	d   events.Delivery // of a worker
	try Try
	run *run
	// held is whether the last read came while scheduled rotations waited, and found no
	// value of this rotation.
	held bool
}

func newWorld(t *testing.T, seed uint64, loud bool) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), say: func(string, ...any) {},
		promoted: map[secret.VersionID]secret.VersionID{}, foreign: map[secret.VersionID]bool{}, displaced: map[secret.VersionID]bool{},
	}
	if loud {
		w.say = t.Logf
	}
	w.spec = secret.Spec{ID: simID, Store: "mem", TTL: time.Hour, RefreshMargin: 10 * time.Minute, Create: w.chance(2)}
	w.mem = storetest.NewMem(time.Now)
	w.mem.Fault = func(op, _ string) error { return w.fault("before " + op) }
	w.mem.After = func(op, _ string) error { return w.fault("after " + op) }
	quiet := slog.New(slog.DiscardHandler)
	st, err := store.New("mem", w.mem, &store.Options{
		Logger: quiet, MeterProvider: noop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider(),
		Circuit: store.Circuit{Failures: -1}, // no time passes here in which it could close again
	})
	if err != nil {
		t.Fatal(err)
	}
	w.st = st
	stores, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.New(catalog.Config{Stores: stores, Specs: []secret.Spec{w.spec}})
	if err != nil {
		t.Fatal(err)
	}
	w.bus = &simBus{w: w}
	w.plat = &simPlatform{w: w, ours: map[secret.Token]bool{}}
	cfg := Config{
		Catalog: cat, Stores: stores, Bus: w.bus, Timers: w.bus, Source: "/sim", Random: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}),
		Logger: quiet, MeterProvider: noop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider(),
	}
	if w.chance(2) {
		cfg.TargetFor = func(context.Context, secret.Spec) (target.Target, error) { return simTarget{w: w}, nil }
	}
	if w.rot, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if !w.spec.Create || w.chance(2) {
		w.external()
	}
	w.hosted = w.chance(3)
	return w
}

func (w *world) chance(n int) bool { return w.rng.IntN(n) == 0 }

// fault makes one call in twelve fail while the world is not calm.
func (w *world) fault(what string) error {
	if w.calm || !w.chance(12) {
		return nil
	}
	w.say("  fault %s", what)
	return errFault
}

// live runs the world through 150 moves, then lets it come to rest and checks
// that every promised thing has happened.
func (w *world) live() error {
	for range 150 {
		w.move()
		if err := w.check(); err != nil {
			return err
		}
	}
	w.calm, w.paused = true, false
	w.say("calm")
	for range 10_000 {
		if w.rest() {
			return w.atRest()
		}
		if err := w.check(); err != nil {
			return err
		}
	}
	return errors.New("the world does not come to rest")
}

func (w *world) move() {
	switch p := w.rng.IntN(100); {
	case p < 55:
		w.stepOne()
	case p < 62 && w.hosted:
		w.plat.invoke()
	case p < 70:
		w.deliver()
	case p < 75:
		w.crash()
	case p < 80:
		w.redeliver()
	case p < 85:
		w.sweep()
	case p < 86 && w.chance(4):
		w.external()
	case p < 87 && w.chance(8):
		w.bus.forget()
	case p < 90:
		w.people.act(w)
	default:
		w.sleep()
	}
}

// rest takes the next move of a world without faults and reports whether there
// is none left before the current version ages.
func (w *world) rest() bool {
	switch {
	case len(w.flights) > 0:
		w.stepOne()
	case w.plat.token != "":
		w.plat.invoke()
	case len(w.bus.queue) > 0:
		w.deliver()
	case w.bus.retrying():
		w.sleep()
	default:
		before := len(w.bus.queue) + len(w.bus.timers)
		w.sweep()
		return before > 0 && len(w.bus.queue) == 0 && !w.bus.retrying()
	}
	return false
}

func (w *world) deliver() {
	if len(w.bus.queue) == 0 || len(w.flights) >= 3 {
		return
	}
	i := w.rng.IntN(len(w.bus.queue)) // any order
	d := w.bus.queue[i]
	w.bus.queue = slices.Delete(w.bus.queue, i, i+1)
	try := tryOf(d.Event.Data)
	w.say("deliver %s attempt %d", short(d.Event.Data.VersionID), d.Event.Data.Attempt)
	w.flights = append(w.flights, &flight{d: d, try: try, run: w.rot.newRun(try)})
}

func (w *world) stepOne() {
	if len(w.flights) == 0 {
		return
	}
	i := w.rng.IntN(len(w.flights))
	f := w.flights[i]
	step := f.run.next()
	held := w.paused // a person acts between two moves
	w.bus.unreadable = f.try.Phase != PhaseWhole && !w.calm && w.chance(8)
	out, err := f.run.step(w.t.Context())
	w.bus.unreadable = false
	w.people.stepped(f, step, out, held)
	w.say("worker on %s: %s %s → %q %v", short(f.try.From), f.try.Phase, step, out, err)
	if from := f.try.From; step == stepPromote && f.run.state.noLog && w.bus.announcedTimes(from) == 0 {
		w.displaced[from] = true // without a log the run cannot see whether it was announced
	}
	if out == "" && err == nil {
		return
	}
	w.flights = slices.Delete(w.flights, i, i+1)
	if f.try.Phase != PhaseWhole {
		w.plat.answered(f, out, err)
		return
	}
	if err != nil {
		w.failed(f, err)
	}
	if w.chance(10) && !w.calm { // the ack was lost
		w.bus.queue = append(w.bus.queue, f.d)
	}
}

// failed does what the consumer does with an error.
func (w *world) failed(f *flight, err error) {
	err = w.rot.fail(w.t.Context(), f.try, escalate(f.try.Retry, err))
	if events.IsPermanent(err) {
		return
	}
	switch rerr := w.rot.Retry(w.t.Context(), f.d, err); {
	case errors.Is(rerr, events.ErrOutranked):
		w.bus.delayed = append(w.bus.delayed, f.d) // negatively acknowledged, until after the timer
	case rerr != nil:
		w.bus.queue = append(w.bus.queue, f.d) // negatively acknowledged
	}
}

func (w *world) crash() {
	if len(w.flights) == 0 {
		return
	}
	i := w.rng.IntN(len(w.flights))
	f := w.flights[i]
	w.say("crash")
	w.flights = slices.Delete(w.flights, i, i+1)
	if f.try.Phase != PhaseWhole {
		w.plat.crash()
		return
	}
	w.bus.queue = append(w.bus.queue, f.d)
}

// redeliver hands a message out again while a worker still has it.
func (w *world) redeliver() {
	if len(w.flights) == 0 {
		return
	}
	if f := w.flights[w.rng.IntN(len(w.flights))]; f.try.Phase == PhaseWhole {
		w.bus.queue = append(w.bus.queue, f.d)
	} else {
		w.plat.crash() // it has waited long enough and asks again
	}
}

// sleep lets time pass, at most to the next timer.
func (w *world) sleep() {
	d := time.Duration(w.rng.Int64N(int64(15 * time.Minute)))
	if next, ok := w.bus.next(); ok && (time.Until(next) < d || w.chance(2)) {
		d = max(time.Until(next), 0)
	}
	time.Sleep(d)
	w.bus.fire()
}

// sweep does what a scheduler does for the secret.
func (w *world) sweep() {
	meta, err := w.st.Describe(w.t.Context(), w.spec.StorePath())
	if errors.Is(err, store.ErrNotFound) && w.spec.Create {
		meta, err = secret.Metadata{}, nil
	}
	if err != nil || w.bus.armed() {
		return
	}
	at, err := w.spec.DueAt(meta, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	if meta.Current().ID == "" {
		at = time.Now()
	}
	_, _ = w.bus.Arm(w.t.Context(), events.NearExpiry("/sim/scheduler", time.Now(), w.spec, meta), at)
	w.bus.fire()
}

// external is another program that writes a version.
func (w *world) external() {
	defer func(calm bool) { w.calm = calm }(w.calm)
	w.calm = true
	meta, err := w.mem.Describe(w.t.Context(), w.spec.StorePath())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		w.t.Fatal(err)
	}
	from := meta.Current().ID
	pending, _ := meta.At(secret.StagePending)
	value, err := secret.DefaultPolicy().Generate(w.rot.cfg.Random)
	if err != nil {
		w.t.Fatal(err)
	}
	token := secret.NewToken("another program", from, "", w.rng.IntN(1<<30))
	v, err := w.mem.Put(w.t.Context(), w.spec.StorePath(), store.Write{Token: token, From: from, Value: value, Replace: pending.ID, Create: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.say("external write %s", short(v.ID))
	w.foreign[v.ID] = true
	if w.chance(4) {
		return // left pending
	}
	if err := w.mem.Promote(w.t.Context(), w.spec.StorePath(), from, v.ID); err != nil {
		w.t.Fatal(err)
	}
	if from != "" && w.bus.announcedTimes(from) == 0 {
		w.displaced[from] = true
	}
}

// check holds what must be true after every move.
func (w *world) check() error {
	if err := w.people.err; err != nil {
		return err
	}
	defer func(calm bool) { w.calm = calm }(w.calm)
	w.calm = true
	meta, err := w.mem.Describe(w.t.Context(), w.spec.StorePath())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	count := map[secret.Stage]int{}
	for _, v := range meta.Versions {
		count[v.Stage]++
	}
	if count[secret.StageCurrent] > 1 || count[secret.StagePending] > 1 || count[secret.StagePrevious] > 1 {
		return fmt.Errorf("stages are not unique: %v", count)
	}
	cur := meta.Current()
	if len(w.order) > 0 && cur.ID == "" {
		return errors.New("the current version is gone")
	}
	if cur.ID != "" && (len(w.order) == 0 || w.order[len(w.order)-1] != cur.ID) {
		if err := w.turned(cur); err != nil {
			return err
		}
	}
	return w.checkLog()
}

// turned notes that the current version changed.
func (w *world) turned(cur secret.Version) error {
	var from secret.VersionID
	if len(w.order) > 0 {
		from = w.order[len(w.order)-1]
	}
	if slices.Contains(w.order, cur.ID) {
		return fmt.Errorf("%s became current twice", cur.ID)
	}
	w.order = append(w.order, cur.ID)
	w.promoted[cur.ID] = from
	if w.foreign[cur.ID] {
		return nil
	}
	if !w.plat.ours[cur.Token] && w.people.ours[cur.Token] == "" && !(state{spec: w.spec, try: Try{Request: Request{From: from}}}).made(cur) {
		return fmt.Errorf("%s is current and carries no token of a rotation away from %s", cur.ID, from)
	}
	_, value, err := w.mem.Get(w.t.Context(), w.spec.StorePath(), store.Selector{})
	if err != nil {
		return err
	}
	return w.spec.ValuePolicy().Check(value)
}

// ours counts the versions that a rotation made.
func (w *world) ours() int {
	n := 0
	for _, v := range w.order {
		if !w.foreign[v] {
			n++
		}
	}
	return n
}

// atRest holds what must be true once nothing is left to do.
func (w *world) atRest() error {
	if len(w.order) == 0 {
		return nil
	}
	cur := w.order[len(w.order)-1]
	if !w.bus.armed() && !w.bus.quarantined(cur) {
		return fmt.Errorf("no timer is armed for %s", cur)
	}
	if slices.Contains(w.people.leaked, cur) && w.bus.last[events.TypeRotationFailed].Event.Data.VersionID != cur {
		return fmt.Errorf("the emergency about %s was lost", cur)
	}
	for i, v := range w.order {
		// A version that we rotated away from was announced before, whichever program
		// wrote it, unless there was no log to be read.
		if next := i + 1; next < len(w.order) && !w.foreign[w.order[next]] && !w.displaced[v] && !w.bus.forgot && w.bus.announcedTimes(v) != 1 {
			return fmt.Errorf("%s was rotated away and announced %d times", v, w.bus.announcedTimes(v))
		}
		if n := w.bus.announcedTimes(v); n > 1 || n == 0 && !w.foreign[v] && !w.displaced[v] && !w.bus.forgot {
			return fmt.Errorf("%s was announced %d times", v, n)
		}
	}
	return nil
}

func short(v secret.VersionID) string { return string(v[:min(len(v), 8)]) }
