//go:build linux

package agent

import (
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

func accepts(v secret.VersionID) func(events.User) bool {
	return func(u events.User) bool { return u.Use.Accepts != nil && slices.Contains(u.Use.Accepts, v) }
}

// TestAProcessThatDrainsStaysOnRecord with the version that it has, although the pid file
// names the next one, which alone is told of new versions.
func TestAProcessThatDrainsStaysOnRecord(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	v1 := h.current()
	stop := h.run()
	h.user("the version is on record", uses(v1))
	old := h.program
	h.start()
	v2 := h.write("two")
	h.notify(v2, 1)
	h.user("the next version is in use, and the old process has the one before", func(u events.User) bool { return uses(v2)(u) && accepts(v1)(u) })
	h.kill()
	stop()
	if u := h.user("it stays on record", accepts(v1)); u.Presence.Ended || u.Presence.Process == nil || u.Presence.Process.PID != old.Process.Pid {
		t.Errorf("the next process has ended, the old one lives, and on record is %+v", u.Presence)
	}
}

// TestAProcessThatHasDrainedLeavesTheRecord.
func TestAProcessThatHasDrainedLeavesTheRecord(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	v1 := h.current()
	defer h.run()()
	h.user("the version is on record", uses(v1))
	old := h.program
	h.start()
	v2 := h.write("two")
	h.notify(v2, 1)
	h.user("the old process is on record", accepts(v1))
	if err := old.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = old.Wait() // it was killed
	v3 := h.write("three")
	h.notify(v3, 2)
	h.user("it is gone", func(u events.User) bool { return uses(v3)(u) && u.Use.Accepts != nil && len(u.Use.Accepts) == 0 })
}

// TestAWriteBesideAProgramSaysNothingOfWhatItUses: the program is not told, and has the
// version that it had.
func TestAWriteBesideAProgramSaysNothingOfWhatItUses(t *testing.T) {
	t.Parallel()
	ended := func(h *host) { h.kill() }
	for name, c := range map[string]struct {
		reload  Reload
		prepare func(*host)
		known   bool
	}{
		"a program that runs":               {},
		"a program that has ended":          {prepare: ended, known: true},
		"a program that was never there":    {prepare: func(h *host) { _ = os.Remove(h.pid) }, known: true},
		"a file that names no process":      {prepare: func(h *host) { _ = os.WriteFile(h.pid, []byte("x"), 0o600) }},
		"a program that a command reloads":  {prepare: ended, reload: Command{}},
		"a program by its number":           {reload: Signal{Signal: syscall.SIGCONT, PID: os.Getpid()}},
		"a program that is gone, by number": {reload: Signal{Signal: syscall.SIGCONT, PID: 1<<22 + 1}, known: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			if c.reload != nil {
				h.cfg.Files[0].Reload = c.reload
			}
			if c.prepare != nil {
				c.prepare(h)
			}
			if err := Once(t.Context(), h.cfg); err != nil {
				t.Fatal(err)
			}
			if u := h.user("it is on record", uses(h.current())); (u.Use.Accepts != nil) != c.known {
				t.Errorf("on record is %+v", u.Use)
			}
		})
	}
}

// TestAWriteOfAFileThatIsReadAtEachUse: nothing else uses another version.
func TestAWriteOfAFileThatIsReadAtEachUse(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.cfg.Files[0].Reload = nil
	if err := Once(t.Context(), h.cfg); err != nil {
		t.Fatal(err)
	}
	if u := h.user("it is on record", uses(h.current())); u.Use.Accepts == nil {
		t.Errorf("on record is %+v", u.Use)
	}
}
