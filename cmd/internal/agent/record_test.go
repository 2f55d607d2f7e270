//go:build linux

package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/process"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

var quiet = slog.New(slog.DiscardHandler)

// host is a store with one secret, a bus, and a program with its file.
type host struct {
	t       *testing.T
	mem     *storetest.Mem
	bus     *events.Bus
	cfg     Config
	program *exec.Cmd
	pid     string // the pid file
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t, mem: storetest.NewMem(nil), bus: eventstest.NewServer(t).NewBus(events.StreamOptions{}), pid: t.TempDir() + "/pid"}
	st, err := store.New("mem", h.mem, &store.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	source, err := client.FromSpecs([]*store.Store{st}, []secret.Spec{{ID: "db", Store: "mem"}})
	if err != nil {
		t.Fatal(err)
	}
	h.write("one")
	f := newFile(t, Signal{Signal: syscall.SIGCONT, PIDFile: h.pid})
	h.cfg = Config{Service: "nightly", Source: source, Bus: h.bus, Logger: quiet, Files: []File{f}, PollInterval: -1}
	h.start()
	return h
}

// write makes a value current and returns its version.
func (h *host) write(text string) secret.VersionID {
	h.t.Helper()
	ctx := h.t.Context()
	var from secret.VersionID
	if m, err := h.mem.Describe(ctx, "db"); err == nil {
		from = m.Current().ID
	}
	v, err := h.mem.Put(ctx, "db", store.Write{Token: secret.Token(text), From: from, Value: secret.NewValue([]byte(text)), Create: true})
	if err == nil {
		err = h.mem.Promote(ctx, "db", from, v.ID)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return v.ID
}

func (h *host) current() secret.VersionID {
	h.t.Helper()
	m, err := h.mem.Describe(h.t.Context(), "db")
	if err != nil {
		h.t.Fatal(err)
	}
	return m.Current().ID
}

// start starts the program, which has the value in its file in memory.
func (h *host) start() {
	h.t.Helper()
	h.program = exec.Command("sleep", "1000")
	if err := h.program.Start(); err != nil {
		h.t.Fatal(err)
	}
	p := h.program
	h.t.Cleanup(func() { _ = p.Process.Kill(); _ = p.Wait() }) // it may have ended
	if err := os.WriteFile(h.pid, []byte(strconv.Itoa(p.Process.Pid)), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// kill ends the program.
func (h *host) kill() {
	h.t.Helper()
	if err := h.program.Process.Kill(); err != nil {
		h.t.Fatal(err)
	}
	_ = h.program.Wait() // it was killed
}

// run runs an agent until stop is called.
func (h *host) run() (stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- New(h.cfg).Run(ctx) }()
	return func() {
		h.t.Helper()
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("the agent: %v", err)
		}
	}
}

// notify announces a version.
func (h *host) notify(v secret.VersionID, seq uint64) {
	h.t.Helper()
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: "db", Store: "mem", VersionID: v, Reason: events.ReasonManual})
	if err := h.bus.Notify(h.t.Context(), "nightly", e, seq); err != nil {
		h.t.Fatal(err)
	}
}

// user waits until the one user on record is as ok wants it.
func (h *host) user(what string, ok func(events.User) bool) events.User {
	h.t.Helper()
	var u events.User
	waittest.Until(h.t, what, func() error {
		f, err := h.bus.Fleet(h.t.Context(), "db")
		if err != nil {
			return err
		}
		if len(f.Users) != 1 || !ok(f.Users[0]) {
			return fmt.Errorf("on record are %+v", f.Users)
		}
		u = f.Users[0]
		return nil
	})
	return u
}

func uses(v secret.VersionID) func(events.User) bool {
	return func(u events.User) bool { return u.Use.VersionID == v && u.Use.Status == events.StatusApplied }
}

// TestAnAgentThatStopsTakesNoProgramWithIt: the program lives and uses the version
// that it was told of, so that stays on record, and the next agent takes it over.
func TestAnAgentThatStopsTakesNoProgramWithIt(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	v1 := h.current()
	stop := h.run()
	h.user("the version is on record", uses(v1))
	stop()
	u := h.user("it stays on record", uses(v1))
	if u.Presence.Ended || u.Use.PastFence != events.PastFenceServe {
		t.Errorf("the agent has stopped, its program lives, and on record is %+v", u)
	}
	self, err := process.Of(h.program.Process.Pid)
	if err != nil || u.Presence.Process == nil || *u.Presence.Process != *self {
		t.Errorf("the record speaks for %+v, the program is %+v, err %v", u.Presence.Process, self, err)
	}
	v2 := h.write("two")
	defer h.run()()
	after := h.user("the next agent takes the record over", uses(v2))
	if after.Use.Incarnation != u.Use.Incarnation || after.Use.Instance != u.Use.Instance {
		t.Errorf("the next agent is %s/%s, the one before was %s/%s", after.Use.Instance, after.Use.Incarnation, u.Use.Instance, u.Use.Incarnation)
	}
}

// TestAVersionThatAProgramHasIsOnRecord although its file cannot be written.
func TestAVersionThatAProgramHasIsOnRecord(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	p, f := &taking{}, &h.cfg.Files[0]
	f.Reload, f.Before = p, true
	v1 := h.current()
	defer h.run()()
	h.user("the version is on record", uses(v1))
	p.blocks = f.temporary()
	v2 := h.write("two")
	h.notify(v2, 1)
	h.user("the next one may be in use", func(u events.User) bool {
		return u.Use.VersionID == v1 && u.Use.Status == events.StatusFailed && slices.Contains(u.Use.Accepts, v2)
	})
	if err := os.RemoveAll(p.blocks); err != nil {
		t.Fatal(err)
	}
	h.notify(v2, 2)
	h.user("the next one is in use", func(u events.User) bool {
		return uses(v2)(u) && u.Use.Accepts != nil && len(u.Use.Accepts) == 0
	})
}

// TestAnAgentSaysThatItsProgramHasEnded when it stops, and not of one that was
// started again.
func TestAnAgentSaysThatItsProgramHasEnded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	stop := h.run()
	h.user("the version is on record", uses(h.current()))
	h.kill()
	stop()
	h.user("the end is on record", func(u events.User) bool { return u.Presence.Ended })
	h.start()
	stop = h.run()
	h.user("the next program is on record", func(u events.User) bool {
		return !u.Presence.Ended && u.Presence.Process != nil && u.Presence.Process.PID == h.program.Process.Pid && uses(h.current())(u)
	})
	stop()
	h.user("it stays on record", func(u events.User) bool { return !u.Presence.Ended })
}

// TestAProgramThatHasEndedDoesNotKeepAnOldValueInItsFile: the next one reads the file
// when it starts.
func TestAProgramThatHasEndedDoesNotKeepAnOldValueInItsFile(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	d := newKept(h.cfg, h.cfg.Files[0])
	deliver(t, d.delivery, change("v1", "one"))
	if d.gone() {
		t.Fatal("the program has ended")
	}
	h.kill()
	deliver(t, d.delivery, change("v2", "two"))
	if got := content(t, d.file.Path); got != "two" {
		t.Errorf("the file holds %q", got)
	}
}

// TestAWriteThatEndsLeavesARecord: what runs before the program starts says what the
// program is going to use.
func TestAWriteThatEndsLeavesARecord(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	v1 := h.current()
	if err := Once(t.Context(), h.cfg); err != nil {
		t.Fatal(err)
	}
	u := h.user("it is on record", uses(v1))
	if u.Presence.Ended || u.Use.PastFence != events.PastFenceServe || !u.Use.Joined {
		t.Errorf("on record is %+v", u)
	}
	f, err := h.bus.Fleet(t.Context(), "db")
	if err != nil {
		t.Fatal(err)
	}
	spec := secret.Spec{ID: "db", Store: "mem", Services: []string{"nightly"}, Proof: secret.Proof{Subscribers: map[string]secret.Subscriber{"nightly": {Kind: secret.KindJob, MaxRun: time.Hour}}}}
	q := rollout.Question{Spec: spec, VersionID: h.write("two"), Promoted: f.At}
	f.At = u.RenewedAt.Add(2 * time.Second)
	if b := q.Ask(f).Blocking; len(b) != 1 || b[0].Reason != events.BlockSilent || !b[0].Until.Equal(q.Promoted.Add(time.Hour+36*time.Second)) {
		t.Errorf("two seconds later the run of a job blocks with %+v, want until its longest run is over", b)
	}
	f.At = f.At.Add(2 * time.Hour)
	if b := q.Ask(f).Blocking; len(b) > 0 {
		t.Errorf("after its longest run it blocks with %v", b)
	}
	h.cfg.Bus = nil
	if err := Once(t.Context(), h.cfg); err != nil {
		t.Errorf("without a bus: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	h.cfg.Files[0].Path = t.TempDir() + "/no/such/folder"
	if err := Once(ended, h.cfg); err == nil {
		t.Errorf("a file that cannot be written: err %v", err)
	}
}
