//go:build unix

package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
)

// early is a program that is told before its file changes: it notes what the file holds
// then, and what the temporary file holds.
type early struct {
	t      *testing.T
	path   string
	seen   []string
	broken error
}

func (e *early) Reload(_ context.Context, next string, _ client.Change, _ secret.Value) error {
	before, _ := os.ReadFile(e.path) // there is none at first
	e.seen = append(e.seen, string(before)+">"+content(e.t, next))
	return e.broken
}

// TestAProgramIsToldBeforeTheFileChanges: when it refuses, the file stays, and no
// temporary file is left.
func TestAProgramIsToldBeforeTheFileChanges(t *testing.T) {
	t.Parallel()
	e := &early{t: t}
	f := newFile(t, e)
	f.Before, e.path = true, f.Path
	d := &delivery{file: f}
	deliver(t, d, change("v1", "one"))
	e.broken = errors.New("refused")
	if err := d.hook(t.Context(), change("v2", "two")); !errors.Is(err, e.broken) || content(t, f.Path) != "one" || f.told() != "" {
		t.Errorf("err %v, the file holds %q", err, content(t, f.Path))
	}
	e.broken = nil
	deliver(t, &delivery{file: f}, change("v2", "two")) // another process
	deliver(t, &delivery{file: f}, change("v2", "two"))
	if got := strings.Join(e.seen, " "); got != ">one one>two one>two" || content(t, f.Path) != "two" || f.told() != "v2" {
		t.Errorf("the program saw %q, the file holds %q", got, content(t, f.Path))
	}
	if _, err := os.Lstat(f.beside("next")); err == nil {
		t.Error("a temporary file is left")
	}
}

// TestTheOutputOfACommandTellsNothingOfTheFile: the command may print the value that the
// program still uses, before the file changes and after.
func TestTheOutputOfACommandTellsNothingOfTheFile(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		var log strings.Builder
		f := newFile(t, nil)
		f.Before, f.Reload = before, command(&log, "echo cannot replace Staple-2-Orange; exit 4")
		if err := os.WriteFile(f.Path, []byte("Staple-2-Orange"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (&delivery{file: f}).hook(t.Context(), change("v2", "Correct-Horse-Battery-1")); err == nil {
			t.Error("no error")
		}
		if !strings.Contains(log.String(), "not shown") || strings.Contains(log.String(), "Orange") {
			t.Errorf("before %t: logged %s", before, &log)
		}
	}
}

// TestAProgramThatTookAVersionHasIt, whatever cannot be written afterwards: a note that
// is missing has the next agent tell the program again, and a version that is not in the
// file yet is known to be in use.
func TestAProgramThatTookAVersionHasIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before bool
		breaks func(File) string
		fails  bool
	}{
		"the note":                  {breaks: File.marker},
		"the note, and it is early": {before: true, breaks: File.marker},
		"the file":                  {before: true, breaks: File.temporary, fails: true},
	} {
		p := &taking{}
		f := newFile(t, p)
		f.Before = c.before
		var half secret.VersionID
		d := &delivery{file: f, log: slog.New(slog.DiscardHandler), half: func(v secret.VersionID) { half = v }}
		deliver(t, d, change("v1", "one"))
		p.blocks = c.breaks(f)
		if err := d.hook(t.Context(), change("v2", "two")); (err != nil) != c.fails || (half == "v2") != c.fails {
			t.Errorf("%s cannot be written: err %v, and %q may be in use", name, err, half)
		}
		if f.told() != "" {
			t.Errorf("%s cannot be written: the note is of %s", name, f.told())
		}
		if err := os.RemoveAll(p.blocks); err != nil {
			t.Fatal(err)
		}
		deliver(t, d, change("v2", "two"))
		if p.calls != 2 || content(t, f.Path) != "two" || half != "" || f.told() != "v2" {
			t.Errorf("%s can be written again: %d calls, the file holds %q, %q may be in use", name, p.calls, content(t, f.Path), half)
		}
	}
}

// taking is a program that takes every value. Then a folder takes the place of a file.
type taking struct {
	blocks string
	calls  int
}

func (p *taking) Reload(context.Context, string, client.Change, secret.Value) error {
	p.calls++
	if p.blocks == "" {
		return nil
	}
	return os.MkdirAll(filepath.Join(p.blocks, "x"), 0o700)
}
