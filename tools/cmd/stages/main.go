// Command stages runs tasks in order, each in a process of its own, and prints
// a table of them: how many tests each ran, how long it took, and its budget.
//
//	stages [-limit 20m] NAME=BUDGET...
//
// It stops at the first task that fails, and prints the table then too. A task
// that exceeds its budget causes a warning, because machines differ; one that
// reaches three times its budget fails and is stopped, as is the task that runs
// when the whole run reaches its limit.
//
// TESTFLAGS=-json in the environment of a task asks its go test commands for
// events, from which tests are counted. Their output is printed as go test
// without -v prints it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// tolerance times its budget is what a stage may take on a busy machine.
const tolerance = 3

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "stages:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, args []string) error {
	flags := flag.NewFlagSet("stages", flag.ContinueOnError)
	limit := flags.Duration("limit", 20*time.Minute, "stop the run after this `duration`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	stages, err := parse(flags.Args())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("the run reached its limit of %s", *limit))
	defer cancel()
	err = runAll(ctx, out, stages, goTask)
	fmt.Fprint(out, "\n", table(stages))
	for _, s := range stages {
		if s.slow() {
			fmt.Fprintf(out, "warning: %s took %s, its budget is %s\n", s.name, s.took.Round(time.Second), s.budget)
		}
	}
	return err
}

// stage is one task and what became of it.
type stage struct {
	name   string
	budget time.Duration
	result string // empty until it has run
	took   time.Duration
	count  count
}

func (s *stage) slow() bool { return s.took > s.budget }

func parse(args []string) ([]*stage, error) {
	var stages []*stage
	for _, arg := range args {
		name, text, _ := strings.Cut(arg, "=")
		budget, err := time.ParseDuration(text)
		if err != nil || name == "" || budget <= 0 {
			return nil, fmt.Errorf("want NAME=BUDGET such as unit=6m, got %q", arg)
		}
		stages = append(stages, &stage{name: name, budget: budget})
	}
	if len(stages) == 0 {
		return nil, errors.New("usage: stages [-limit 20m] NAME=BUDGET")
	}
	return stages, nil
}

// runner runs a task, with its output to w, until ctx ends.
type runner func(ctx context.Context, w io.Writer, name string) error

// runAll runs stages up to the first that fails, and notes what became of them.
func runAll(ctx context.Context, out io.Writer, stages []*stage, run runner) error {
	for _, s := range stages {
		fmt.Fprintf(out, "\n==> %s (budget %s)\n", s.name, s.budget)
		if err := s.run(ctx, out, run); err != nil {
			s.result = "FAILED"
			return fmt.Errorf("%s: %w", s.name, err)
		}
		s.result = "ok"
	}
	return nil
}

func (s *stage) run(ctx context.Context, out io.Writer, run runner) error {
	most := tolerance * s.budget
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("stopped after %s, %d times its budget", most, tolerance))
	defer cancel()
	r := newRenderer(out)
	begin := time.Now()
	err := run(ctx, r, s.name)
	err = errors.Join(err, r.Close())
	s.took, s.count = time.Since(begin), r.count
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// table has a line for each stage and one for all of them.
func table(stages []*stage) string {
	var b strings.Builder
	line := func(name, result, tests, skipped string, took, budget time.Duration) {
		fmt.Fprintf(&b, "%-12s %-8s %7s %8s %8.0f %7.0f\n", name, result, tests, skipped, took.Seconds(), budget.Seconds())
	}
	fmt.Fprintf(&b, "%-12s %-8s %7s %8s %8s %7s\n", "stage", "result", "tests", "skipped", "seconds", "budget")
	total := stage{name: "all", result: "ok"}
	for _, s := range stages {
		result := s.result
		if result == "" {
			result = "not run"
		}
		if result != "ok" {
			total.result = "FAILED"
		}
		tests, skipped := s.count.columns()
		line(s.name, result, tests, skipped, s.took, s.budget)
		total.count.add(s.count)
		total.took += s.took
		total.budget += s.budget
	}
	tests, skipped := total.count.columns()
	line(total.name, total.result, tests, skipped, total.took, total.budget)
	return b.String()
}
