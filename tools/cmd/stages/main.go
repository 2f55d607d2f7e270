// Command stages runs tasks in order, each in a process of its own, and prints
// a table of them: how many tests each ran, how long it took, and its budget.
//
//	stages [-limit 20m] NAME=BUDGET[,NAME=BUDGET...]...
//
// Tasks that a comma joins run side by side: one that mostly waits leaves the
// processor to another. The output of the first is printed as it comes, that
// of each other one when all have ended.
//
// It stops after the first task that fails, and prints the table then too. A task
// that exceeds its budget causes a warning, because machines differ; one that
// reaches three times its budget fails and is stopped, as is the task that runs
// when the whole run reaches its limit.
//
// TESTFLAGS=-json in the environment of a task asks its go test commands for
// events, from which tests are counted. Their output is printed as go test
// without -v prints it.
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
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
	groups, err := parse(flags.Args())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("the run reached its limit of %s", *limit))
	defer cancel()
	begin := time.Now()
	err = runAll(ctx, out, groups, goTask)
	fmt.Fprint(out, "\n", table(groups, time.Since(begin)))
	for _, s := range slices.Concat(groups...) {
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

// parse returns the stages of each argument, which run side by side.
func parse(args []string) ([][]*stage, error) {
	if len(args) == 0 {
		return nil, errors.New("usage: stages [-limit 20m] NAME=BUDGET[,NAME=BUDGET]")
	}
	groups := make([][]*stage, len(args))
	for i, arg := range args {
		for part := range strings.SplitSeq(arg, ",") {
			name, text, _ := strings.Cut(part, "=")
			budget, err := time.ParseDuration(text)
			if err != nil || name == "" || budget <= 0 {
				return nil, fmt.Errorf("want NAME=BUDGET such as unit=6m, got %q", part)
			}
			groups[i] = append(groups[i], &stage{name: name, budget: budget})
		}
	}
	return groups, nil
}

// runner runs a task, with its output to w, until ctx ends.
type runner func(ctx context.Context, w io.Writer, name string) error

// runAll runs groups of stages up to the first with one that fails, and notes
// what became of each stage.
func runAll(ctx context.Context, out io.Writer, groups [][]*stage, run runner) error {
	for _, group := range groups {
		if err := runGroup(ctx, out, group, run); err != nil {
			return err
		}
	}
	return nil
}

// runGroup runs the stages of a group side by side until all have ended, and
// returns the errors of those that fail.
func runGroup(ctx context.Context, out io.Writer, group []*stage, run runner) error {
	later := make([]bytes.Buffer, len(group)-1)
	errs := make([]error, len(group))
	var wg sync.WaitGroup
	for i, s := range group[1:] {
		wg.Go(func() { errs[i+1] = s.run(ctx, &later[i], run) })
	}
	errs[0] = group[0].run(ctx, out, run)
	wg.Wait()
	for i := range later {
		if _, err := later[i].WriteTo(out); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// run runs a stage, with its output to out, and notes its result.
func (s *stage) run(ctx context.Context, out io.Writer, run runner) error {
	fmt.Fprintf(out, "\n==> %s (budget %s)\n", s.name, s.budget)
	if err := s.limited(ctx, out, run); err != nil {
		s.result = "FAILED"
		return fmt.Errorf("%s: %w", s.name, err)
	}
	s.result = "ok"
	return nil
}

func (s *stage) limited(ctx context.Context, out io.Writer, run runner) error {
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

// table has a line for each stage and one for all of them, which took a while
// together.
func table(groups [][]*stage, took time.Duration) string {
	var b strings.Builder
	line := func(name, result, tests, skipped string, took, budget time.Duration) {
		fmt.Fprintf(&b, "%-12s %-8s %7s %8s %8.0f %7.0f\n", name, result, tests, skipped, took.Seconds(), budget.Seconds())
	}
	fmt.Fprintf(&b, "%-12s %-8s %7s %8s %8s %7s\n", "stage", "result", "tests", "skipped", "seconds", "budget")
	total := stage{name: "all", result: "ok", took: took}
	for _, s := range slices.Concat(groups...) {
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
	}
	for _, group := range groups {
		total.budget += slices.MaxFunc(group, func(a, b *stage) int { return cmp.Compare(a.budget, b.budget) }).budget
	}
	tests, skipped := total.count.columns()
	line(total.name, total.result, tests, skipped, total.took, total.budget)
	return b.String()
}
