//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func change(version, value string) client.Change {
	return client.Change{ID: "db", Version: secret.Version{ID: secret.VersionID(version)}, Value: secret.NewValue([]byte(value))}
}

// program counts what it is told, and refuses when it is broken.
type program struct {
	told   []string
	broken error
}

func (p *program) Reload(_ context.Context, path string, c client.Change, _ secret.Value) error {
	if v := (File{Path: path}).told(); v != "" {
		return fmt.Errorf("a crash would leave the note of %s", v)
	}
	p.told = append(p.told, string(c.Version.ID))
	return p.broken
}

func newFile(t *testing.T, reload Reload) File {
	t.Helper()
	return File{ID: "db", Path: filepath.Join(t.TempDir(), "password"), Mode: 0o400, UID: -1, GID: -1, Reload: reload}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func deliver(t *testing.T, d *delivery, c client.Change) {
	t.Helper()
	if err := d.hook(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func TestAProgramIsToldOnce(t *testing.T) {
	t.Parallel()
	p := &program{}
	f := newFile(t, p)
	deliver(t, &delivery{file: f}, change("v1", "one"))
	deliver(t, &delivery{file: f}, change("v1", "one")) // another process
	deliver(t, &delivery{file: f}, change("v2", "two"))
	if got := strings.Join(p.told, " "); got != "v1 v2" || content(t, f.Path) != "two" {
		t.Errorf("told of %s, the file holds %q", got, content(t, f.Path))
	}
}

// A crash may fall between any two steps; the next process finds what they left.
func TestNobodyIsForgottenAfterACrash(t *testing.T) {
	t.Parallel()
	for name, crash := range map[string]func(File) error{
		"before the file changes":            func(f File) error { return f.untell() },
		"while the file is written":          func(f File) error { return errors.Join(f.untell(), os.WriteFile(f.temporary(), []byte("tw"), 0o600)) },
		"before the program is told":         func(f File) error { return errors.Join(f.untell(), f.write(secret.NewValue([]byte("two")))) },
		"and a person has removed the file":  func(f File) error { return os.Remove(f.Path) },
		"and a person has changed the file":  func(f File) error { return errors.Join(os.Remove(f.Path), os.WriteFile(f.Path, []byte("old"), 0o400)) },
		"and a person has broken the note":   func(f File) error { return os.WriteFile(f.marker(), []byte("\x00"), 0o600) },
		"and the note is of another version": func(f File) error { return errors.Join(f.write(secret.NewValue([]byte("two"))), f.tell("v0")) },
	} {
		t.Run(name, func(t *testing.T) {
			p := &program{}
			f := newFile(t, p)
			deliver(t, &delivery{file: f}, change("v1", "one"))
			if err := crash(f); err != nil {
				t.Fatal(err)
			}
			p.told = nil
			deliver(t, &delivery{file: f}, change("v2", "two"))
			if strings.Join(p.told, " ") != "v2" || content(t, f.Path) != "two" || f.told() != "v2" {
				t.Errorf("told of %v, the file holds %q", p.told, content(t, f.Path))
			}
			if _, err := os.Lstat(f.temporary()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a temporary file is left: %v", err)
			}
		})
	}
}

func TestAProgramThatRefusesKeepsTheOldValue(t *testing.T) {
	t.Parallel()
	p := &program{}
	f := newFile(t, p)
	d := &delivery{file: f}
	deliver(t, d, change("v1", "one"))
	p.broken = errors.New("refused")
	for range 2 {
		if err := d.hook(t.Context(), change("v2", "two")); !errors.Is(err, p.broken) || content(t, f.Path) != "one" {
			t.Errorf("err %v, the file holds %q", err, content(t, f.Path))
		}
	}
	p.broken = nil
	deliver(t, d, change("v2", "two"))
	if content(t, f.Path) != "two" || f.told() != "v2" {
		t.Errorf("the file holds %q", content(t, f.Path))
	}
}

func TestAFileThatCannotBeWrittenStays(t *testing.T) {
	t.Parallel()
	p := &program{}
	f := newFile(t, p)
	d := &delivery{file: f}
	deliver(t, d, change("v1", "one"))
	// A folder that is not empty cannot be taken away for the temporary file.
	if err := os.MkdirAll(filepath.Join(f.temporary(), "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := d.hook(t.Context(), change("v2", "two")); err == nil || content(t, f.Path) != "one" || len(p.told) != 1 {
		t.Errorf("err %v, the file holds %q, told of %v", err, content(t, f.Path), p.told)
	}
}

func TestTheFileIsForItsOwner(t *testing.T) {
	t.Parallel()
	f := newFile(t, nil)
	f.Mode, f.UID, f.GID = 0o440, os.Getuid(), os.Getgid()
	// What a person has put in the way is not followed.
	victim := filepath.Join(t.TempDir(), "victim")
	if err := errors.Join(os.WriteFile(victim, []byte("victim"), 0o600), os.Symlink(victim, f.temporary())); err != nil {
		t.Fatal(err)
	}
	deliver(t, &delivery{file: f}, change("v1", "one"))
	info, err := os.Lstat(f.Path)
	if err != nil || info.Mode() != 0o440 || !f.owns(info) || content(t, victim) != "victim" {
		t.Errorf("mode %v, %v, the victim holds %q", info.Mode(), err, content(t, victim))
	}
	f.Mode = 0o400
	deliver(t, &delivery{file: f}, change("v1", "one"))
	if info, err := os.Lstat(f.Path); err != nil || info.Mode() != 0o400 {
		t.Errorf("the mode is not corrected: %v, %v", info.Mode(), err)
	}
	other := f
	other.UID++
	if other.owns(info) || other.holds(secret.NewValue([]byte("one"))) {
		t.Error("a file of another program is taken for the agent's")
	}
}

func TestAReaderSeesOneWholeValue(t *testing.T) {
	t.Parallel()
	f := newFile(t, &program{})
	d := &delivery{file: f}
	values := []string{strings.Repeat("a", secret.MaxValueLength), strings.Repeat("b", 5)}
	deliver(t, d, change("v0", values[0]))
	done, wg, reads := make(chan struct{}), sync.WaitGroup{}, 0
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			b, err := os.ReadFile(f.Path)
			if reads++; err != nil || !slices.Contains(values, string(b)) {
				t.Errorf("read %d: %d bytes, %v", reads, len(b), err)
				return
			}
		}
	})
	for i := range 200 {
		deliver(t, d, change("v"+strconv.Itoa(i+1), values[(i+1)%2]))
	}
	close(done)
	wg.Wait()
	t.Logf("%d reads of 200 versions", reads)
}

func TestAFileHoldsNoPendingVersion(t *testing.T) {
	t.Parallel()
	c := change("v1", "one")
	c.Staged = true
	f := newFile(t, nil)
	if err := (&delivery{file: f}).hook(t.Context(), c); !errors.Is(err, errStaged) {
		t.Errorf("err %v", err)
	}
	if _, err := os.Lstat(f.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a pending version was written")
	}
}

func TestSignal(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(t.TempDir(), "pid")
	s := Signal{Signal: syscall.SIGTERM, PIDFile: pid}
	for _, text := range []string{"", "0", "-1", "1x", "+5", "99999999999", strings.Repeat("1", 200), "\n5\n", "5 x\n"} {
		if err := os.WriteFile(pid, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(t.Context(), "", change("v1", "one"), secret.Value{}); err == nil || !strings.Contains(err.Error(), "pid file") {
			t.Errorf("%q: err %v", text, err)
		}
	}
	if err := os.WriteFile(pid, postmaster(child.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context(), "", change("v1", "one"), secret.Value{}); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
		t.Errorf("the process ended with %v", err)
	}
	if err := s.Reload(t.Context(), "", change("v1", "one"), secret.Value{}); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("a process that is gone: err %v", err)
	}
	s.PIDFile += ".none"
	if err := s.Reload(t.Context(), "", change("v1", "one"), secret.Value{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no pid file: err %v", err)
	}
}

// postmaster returns a pid file as PostgreSQL writes it.
func postmaster(pid int) []byte {
	return fmt.Appendf(nil, "%d\n/var/lib/postgresql/15/main\n1795968000\n5432\n/var/run/postgresql\nlocalhost\n  5432001         0\nready   \n", pid)
}

func command(log *strings.Builder, script string) Command {
	return Command{Argv: []string{"sh", "-c", script}, Timeout: time.Minute, Logger: slog.New(slog.NewTextHandler(log, nil))}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	c := change("v1", "Correct-Horse-Battery-1")
	for name, tt := range map[string]struct {
		script string
		err    string
		logged string
	}{
		"it works":                          {`test "$ROTATOR_FILE" = /run/db && test "$ROTATOR_SECRET_ID" = db && test "$ROTATOR_VERSION_ID" = v1`, "", ""},
		"what works is not logged":          {"echo fine", "", ""},
		"it fails, and says why":            {"echo no such unit >&2; exit 4", "exit status 4", "no such unit"},
		"it prints the value":               {"echo Correct-Horse-Battery-1; exit 4", "exit status 4", "not shown"},
		"it prints a piece of the value":    {"echo bad password orse-Bat...; exit 4", "exit status 4", "not shown"},
		"it prints the value before":        {"echo cannot replace Staple-2-Orange; exit 4", "exit status 4", "not shown"},
		"it prints more than is kept":       {"i=0; while test $i -lt 2000; do echo lots; i=$((i+1)); done; exit 4", "exit status 4", "…"},
		"what it leaves running is no harm": {"sleep 5 & exit 0", "", ""},
		"a signal kills it":                 {"kill -9 $$", "signal: killed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &strings.Builder{}
			err := command(log, tt.script).Reload(t.Context(), "/run/db", c, secret.NewValue([]byte("Staple-2-Orange")))
			if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("err %v, want %q", err, tt.err)
			}
			if !strings.Contains(log.String(), tt.logged) || tt.logged == "" && log.Len() > 0 || strings.Contains(log.String(), "orse-Bat") || strings.Contains(log.String(), "Orange") || log.Len() > 3*maxOutput {
				t.Errorf("logged %s", log)
			}
		})
	}
	err := Command{Argv: []string{"/no/such/program", "argument"}, Timeout: time.Minute}.Reload(t.Context(), "", c, secret.Value{})
	if !errors.Is(err, fs.ErrNotExist) || strings.Contains(fmt.Sprint(err), "argument") {
		t.Errorf("err %v", err)
	}
}

// A command that is killed takes with it what it has started.
func TestACommandThatHangsIsKilled(t *testing.T) {
	t.Parallel()
	pid := filepath.Join(t.TempDir(), "pid")
	c := command(&strings.Builder{}, "sleep 1000 & echo $! >"+pid+"; wait")
	c.Timeout = 2 * time.Second
	if err := c.Reload(t.Context(), "", change("v1", "one"), secret.Value{}); err == nil || !strings.Contains(err.Error(), "killed after 2s") {
		t.Errorf("err %v", err)
	}
	child, _, err := Signal{PIDFile: pid}.pid()
	if err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the child of the command has ended", func() error {
		if alive(child) {
			return fmt.Errorf("process %d runs", child)
		}
		return nil
	})
}

// alive reports whether a process runs; one that only waits to be reaped does
// not.
func alive(pid int) bool {
	b, err := exec.Command("ps", "-o", "stat=", "-p", strconv.Itoa(pid)).Output()
	state := strings.TrimSpace(string(b))
	return err == nil && state != "" && state[0] != 'Z'
}
