package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// script runs the name of a stage as a shell script.
func script(ctx context.Context, w io.Writer, name string) error {
	return command(ctx, w, "sh", "-c", name)
}

func TestStages(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := exec.Command("mkfifo", fifo).Run(); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		groups  [][]*stage
		results []string
		output  string
		fails   bool
	}{
		"each stage runs": {
			[][]*stage{{{name: "echo one", budget: time.Hour}}, {{name: "echo two", budget: time.Hour}}},
			[]string{"ok", "ok"}, "two\n", false,
		},
		"a stage that fails is the last": {
			[][]*stage{{{name: "echo this is why >&2; exit 3", budget: time.Hour}}, {{name: "echo two", budget: time.Hour}}},
			[]string{"FAILED", ""}, "this is why\n", true,
		},
		"a stage beyond its budget is not a failure": {
			[][]*stage{{{name: "sleep 0.2; echo one", budget: 100 * time.Millisecond}}},
			[]string{"ok"}, "one\n", false,
		},
		"a stage at three times its budget is stopped, with its children": {
			[][]*stage{{{name: "echo one; (sleep 1000; echo two) & wait", budget: 100 * time.Millisecond}}, {{name: "echo three", budget: time.Hour}}},
			[]string{"FAILED", ""}, "one\n", true,
		},
		"a stage that ignores an interrupt is killed": {
			[][]*stage{{{name: "trap '' INT; echo one; sleep 1000; echo two", budget: 100 * time.Millisecond}}},
			[]string{"FAILED"}, "one\n", true,
		},
		"stages of a group run side by side": {
			[][]*stage{{{name: "cat " + fifo, budget: time.Hour}, {name: "echo two; echo one >" + fifo, budget: time.Hour}}},
			[]string{"ok", "ok"}, "one\n\n==> echo two; echo one >" + fifo + " (budget 1h0m0s)\ntwo\n", false,
		},
		"a stage that fails lets the others of its group end, and is the last": {
			[][]*stage{{{name: "false", budget: time.Hour}, {name: "echo two", budget: time.Hour}}, {{name: "echo three", budget: time.Hour}}},
			[]string{"FAILED", "ok", ""}, "two\n", true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			err := runAll(t.Context(), &out, tt.groups, script)
			if (err != nil) != tt.fails {
				t.Errorf("got error %v, want one: %t", err, tt.fails)
			}
			for i, s := range slices.Concat(tt.groups...) {
				if s.result != tt.results[i] {
					t.Errorf("stage %d is %q, want %q", i, s.result, tt.results[i])
				}
			}
			if !strings.HasSuffix(out.String(), tt.output) {
				t.Errorf("printed %q, want %q at its end", out.String(), tt.output)
			}
		})
	}
}

func TestAStageSaysWhyItWasStopped(t *testing.T) {
	t.Parallel()
	errLimit := errors.New("the limit of the run")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errLimit)
	defer cancel()
	err := runAll(ctx, io.Discard, [][]*stage{{{name: "sleep 1000", budget: time.Hour}}}, script)
	if !errors.Is(err, errLimit) {
		t.Errorf("got %v, want %v", err, errLimit)
	}
	err = runAll(t.Context(), io.Discard, [][]*stage{{{name: "sleep 1000", budget: 10 * time.Millisecond}}}, script)
	if want := "sleep 1000: stopped after 30ms, 3 times its budget"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	got := table([][]*stage{
		{{name: "check", budget: time.Minute, result: "ok", took: 31400 * time.Millisecond}},
		{
			{name: "unit", budget: 2 * time.Minute, result: "FAILED", took: 99 * time.Second, count: count{passed: 40, failed: 1, skipped: 2}},
			{name: "python", budget: time.Minute, result: "ok", took: 40 * time.Second, count: count{passed: 7}},
		},
		{{name: "docs", budget: time.Minute}},
	}, 131*time.Second)
	want := `stage        result     tests  skipped  seconds  budget
check        ok             -        -       31      60
unit         FAILED        41        2       99     120
python       ok             7        0       40      60
docs         not run        -        -        0      60
all          FAILED        48        2      131     240
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	groups, err := parse([]string{"check=3m", "unit=90s,python=1m"})
	if err != nil || len(groups) != 2 || len(groups[0]) != 1 || len(groups[1]) != 2 {
		t.Fatalf("got %v, %v", groups, err)
	}
	if got := *groups[1][1]; got != (stage{name: "python", budget: time.Minute}) {
		t.Errorf("got %+v", got)
	}
	for _, arg := range []string{"unit", "unit=", "unit=6", "unit=-1m", "=1m", "unit=1m,", ",unit=1m", "unit=1m,python"} {
		if _, err := parse([]string{arg}); err == nil {
			t.Errorf("%q is accepted", arg)
		}
	}
	if _, err := parse(nil); err == nil {
		t.Error("no stages are accepted")
	}
}
