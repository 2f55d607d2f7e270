//go:build unix

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Signal sends a signal to a process.
type Signal struct {
	Signal syscall.Signal
	// PIDFile has the number of the process in its first line; it is read before each signal. ""
	// means PID.
	PIDFile string
	PID     int
	// Written is when PID was written down. A process that began later is another
	// one. Zero means that this is not known.
	Written time.Time
}

// Signals are those that can be sent, by name.
func Signals() map[string]syscall.Signal {
	return map[string]syscall.Signal{
		"SIGHUP": syscall.SIGHUP, "SIGUSR1": syscall.SIGUSR1, "SIGUSR2": syscall.SIGUSR2,
		"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM, "SIGQUIT": syscall.SIGQUIT,
	}
}

// maxPIDFile bounds a pid file. Some programs write more than their number, such as
// PostgreSQL, which has the path of its data and others behind it, a line each.
const maxPIDFile = 64 << 10

// Reload implements [Reload].
func (s Signal) Reload(context.Context, string, client.Change, secret.Value) error {
	pid, owner, err := s.pid()
	if err != nil {
		return err
	}
	p, err := os.FindProcess(pid) // the same process from here on, whatever takes the number next
	if err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	defer func() { _ = p.Release() }()
	if err := s.permitted(pid, owner); err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	if err := p.Signal(s.Signal); errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal process %d: %w", pid, syscall.ESRCH)
	} else if err != nil {
		return fmt.Errorf("signal process %d: %w", pid, err)
	}
	return nil
}

// permitted returns an error unless the owner of the PID file may signal the process:
// a user that writes the file must not reach, by way of an agent with more rights, what
// is not its own.
func (s Signal) permitted(pid, owner int) error {
	if s.PIDFile == "" || owner == 0 || owner == os.Geteuid() {
		return nil
	}
	users, err := usersOf(pid)
	if err != nil {
		return err
	}
	if !slices.Contains(users, owner) {
		return fmt.Errorf("%s belongs to user %d, who may not signal that process; let root own the file, or run the program as that user", s.PIDFile, owner)
	}
	return nil
}

// pid returns the number of the process, and who owns the file that it is from.
func (s Signal) pid() (pid, owner int, err error) {
	if s.PIDFile == "" {
		return s.PID, 0, intended(s.PID, s.Written)
	}
	b, info, err := readOwned(s.PIDFile, maxPIDFile)
	if err != nil {
		return 0, 0, fmt.Errorf("pid file: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode().Perm()&0o002 != 0 {
		return 0, 0, fmt.Errorf("pid file: every user can write %s", s.PIDFile)
	}
	first, _, _ := bytes.Cut(b, []byte("\n"))
	// 0 and below would be groups of processes.
	n, err := strconv.ParseUint(string(bytes.TrimSpace(first)), 10, 31)
	if err != nil || n == 0 {
		return 0, 0, fmt.Errorf("pid file: the first line of %s holds no number of a process", s.PIDFile)
	}
	if err := intended(int(n), info.ModTime()); err != nil {
		return 0, 0, fmt.Errorf("pid file: %s: %w", s.PIDFile, err)
	}
	return int(n), int(st.Uid), nil
}

// program returns the PID of the program that uses the file, 0 where that is not
// known.
func (f File) program() int {
	s, ok := f.Reload.(Signal)
	if !ok {
		return 0
	}
	pid, _, err := s.pid()
	if err != nil {
		return 0
	}
	return pid
}

// patience returns how long a delivery of the file may take.
func (f File) patience() time.Duration {
	if c, ok := f.Reload.(Command); ok {
		return c.Timeout + client.DefaultHookTimeout
	}
	return client.DefaultHookTimeout
}

// Command runs a program.
type Command struct {
	Argv []string
	// Timeout is after which it is killed, with all that it has started.
	Timeout time.Duration
	// Logger hears what a command that failed has printed.
	Logger *slog.Logger
}

const (
	// maxOutput bounds how much of a command's output is kept.
	maxOutput = 4 << 10
	// outputDelay is how long a command that has ended may leave its output open
	// to what it has started.
	outputDelay = time.Second
)

// Reload implements [Reload].
func (c Command) Reload(ctx context.Context, path string, change client.Change, before secret.Value) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	out := &output{}
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...) //nolint:gosec // the operator's own command
	cmd.Env = environment(path, change)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, outputDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		return nil
	}
	if text := out.text(change.Value, before); text != "" {
		c.Logger.LogAttrs(ctx, slog.LevelWarn, "agent.command.output", slog.String("secret_id", string(change.ID)), slog.String("output", text))
	}
	if ctx.Err() != nil {
		return fmt.Errorf("command %s: killed after %s", c.Argv[0], c.Timeout)
	}
	return fmt.Errorf("command %s: %w", c.Argv[0], err)
}

// environment is what a command gets: never the agent's own, which may hold
// credentials of a store.
func environment(path string, c client.Change) []string {
	env := []string{"ROTATOR_SECRET_ID=" + string(c.ID), "ROTATOR_VERSION_ID=" + string(c.Version.ID), "ROTATOR_FILE=" + path}
	for _, name := range []string{"PATH", "HOME", "USER", "LANG", "TZ", "XDG_RUNTIME_DIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// output keeps the beginning of what a command prints.
type output struct {
	mu   sync.Mutex
	b    []byte
	more bool
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := min(len(p), maxOutput-len(o.b))
	o.b = append(o.b, p[:n]...)
	o.more = o.more || n < len(p)
	return len(p), nil
}

// text returns the output for a log: nothing of it when it has a piece of a value in
// it, which a command may have printed.
func (o *output) text(values ...secret.Value) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if text := string(o.b); secret.ScrubText(text, values...) != text {
		return "(not shown: it has a piece of a value in it)"
	}
	text := string(bytes.ToValidUTF8(o.b, []byte("?")))
	if o.more {
		text += "…"
	}
	return text
}
