package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// count is a number of tests. A test that go test runs as part of another is
// not counted; each case of pytest is a test.
type count struct{ passed, failed, skipped int }

func (c *count) add(o count) {
	c.passed += o.passed
	c.failed += o.failed
	c.skipped += o.skipped
}

// columns returns what a table shows of a count.
func (c *count) columns() (tests, skipped string) {
	if *c == (count{}) {
		return "-", "-"
	}
	return strconv.Itoa(c.passed + c.failed), strconv.Itoa(c.skipped)
}

// event is one line of go test -json.
type event struct {
	Action  string `json:"Action"`
	Package string `json:"Package"`
	Test    string `json:"Test"`
	Output  string `json:"Output"`
}

// renderer writes what go test without -v would have written in place of the
// events of go test -json, passes all other output on, and counts tests. The
// result of a test that failed comes after its output, as with -v.
type renderer struct {
	out   io.Writer
	line  []byte // the line that has not ended yet
	count count
	fail  bool // a package has failed
	// packages is the output of packages that run, by test; "" is the package's own.
	packages map[string]map[string]*bytes.Buffer
}

func newRenderer(out io.Writer) *renderer {
	return &renderer{out: out, packages: map[string]map[string]*bytes.Buffer{}}
}

// Write implements [io.Writer].
func (r *renderer) Write(p []byte) (int, error) {
	r.line = append(r.line, p...)
	for {
		line, rest, ok := bytes.Cut(r.line, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if err := r.render(append(line, '\n')); err != nil {
			return 0, err
		}
		r.line = bytes.Clone(rest)
	}
}

// Close writes what did not end: a line, and packages whose tests were stopped.
func (r *renderer) Close() error {
	_, err := r.out.Write(r.line)
	for name := range r.packages {
		err = errors.Join(err, r.failed(name))
	}
	if r.fail {
		_, last := io.WriteString(r.out, "FAIL\n")
		err = errors.Join(err, last)
	}
	return err
}

func (r *renderer) render(line []byte) error {
	var e event
	if !bytes.HasPrefix(line, []byte(`{"`)) || json.Unmarshal(line, &e) != nil || e.Action == "" {
		r.countPytest(string(line))
		_, err := r.out.Write(line)
		return err
	}
	switch e.Action {
	case "output":
		r.collect(e)
	case "build-output":
		_, err := io.WriteString(r.out, e.Output)
		return err
	case "pass", "skip":
		return r.passed(e)
	case "fail":
		if e.Test == "" {
			return r.failed(e.Package)
		}
		r.countTest(e)
	}
	return nil
}

func (r *renderer) collect(e event) {
	tests := r.packages[e.Package]
	if tests == nil {
		tests = map[string]*bytes.Buffer{}
		r.packages[e.Package] = tests
	}
	name, _, _ := strings.Cut(e.Test, "/")
	if tests[name] == nil {
		tests[name] = &bytes.Buffer{}
	}
	tests[name].WriteString(e.Output)
}

// passed drops the output of a test, and writes the last line of a package.
func (r *renderer) passed(e event) error {
	if e.Test != "" {
		r.countTest(e)
		if !strings.Contains(e.Test, "/") {
			delete(r.packages[e.Package], e.Test)
		}
		return nil
	}
	own := r.packages[e.Package][""]
	delete(r.packages, e.Package)
	if own == nil {
		return nil
	}
	for line := range strings.Lines(own.String()) {
		if closing.MatchString(line) {
			if _, err := io.WriteString(r.out, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// closing is how go test ends a package: "ok  \tpackage\t1.2s", or "?" for one
// without tests.
var closing = regexp.MustCompile(`^(ok|\?) +\t`)

// failed writes the output of a package without that of tests that passed. A
// test that has not ended, because the process has, is among the rest.
func (r *renderer) failed(name string) error {
	r.fail = true
	tests := r.packages[name]
	delete(r.packages, name)
	own := tests[""]
	delete(tests, "")
	for _, b := range tests {
		if _, err := r.out.Write(b.Bytes()); err != nil {
			return err
		}
	}
	if own == nil {
		return nil
	}
	_, err := r.out.Write(own.Bytes())
	return err
}

func (r *renderer) countTest(e event) {
	if strings.Contains(e.Test, "/") {
		return
	}
	switch e.Action {
	case "pass":
		r.count.passed++
	case "fail":
		r.count.failed++
	case "skip":
		r.count.skipped++
	}
}

var (
	// The last line of pytest, with -q or without: "== 3 failed, 120 passed, 1 skipped in 4.20s ==".
	pytestEnd  = regexp.MustCompile(`^(=+ )?\d+ (passed|failed|skipped|error|errors|xfailed|xpassed|warning|warnings|deselected)\b.* in [\d.]+s`)
	pytestPart = regexp.MustCompile(`(\d+) (passed|failed|skipped|errors?)\b`)
)

func (r *renderer) countPytest(line string) {
	if !pytestEnd.MatchString(line) {
		return
	}
	for _, part := range pytestPart.FindAllStringSubmatch(line, -1) {
		n, err := strconv.Atoi(part[1])
		if err != nil {
			panic(fmt.Sprintf("%q is not a number", part[1])) // the pattern says it is
		}
		switch part[2] {
		case "passed":
			r.count.passed += n
		case "skipped":
			r.count.skipped += n
		default:
			r.count.failed += n
		}
	}
}
