package main

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// packages is a module whose packages end in every way that a package can.
var packages = map[string]string{
	"go.mod":          "module m\n\ngo 1.26\n",
	"none/none.go":    "package none\n",
	"pass/p_test.go":  "package pass\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { println(\"chatter\"); t.Run(\"sub\", func(t *testing.T) {}) }\nfunc TestB(t *testing.T) { t.Skip(\"no\") }\n",
	"fail/f_test.go":  "package fail\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { t.Run(\"sub\", func(t *testing.T) { t.Error(\"this is why\") }) }\nfunc TestB(t *testing.T) {}\n",
	"exit/e_test.go":  "package exit\n\nimport (\n\t\"os\"\n\t\"testing\"\n)\n\nfunc TestA(t *testing.T) { println(\"last words\"); os.Exit(3) }\n",
	"build/b_test.go": "package build\n\nimport \"testing\"\n\nfunc TestA(t *testing.T) { undefined() }\n",
}

var seconds = regexp.MustCompile(`\d+\.\d+s`)

// TestEventsAreRenderedAsGoTestWouldPrint compares the output of go test with
// what becomes of the output of go test -json.
func TestEventsAreRenderedAsGoTestWouldPrint(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range packages {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	counts := map[string]count{"pass": {passed: 1, skipped: 1}, "fail": {passed: 1, failed: 1}, "none": {}, "exit": {}, "build": {}}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := lines(goTest(t, dir, "./none", "./"+name))
			var got bytes.Buffer
			r := newRenderer(&got)
			for piece := range slices.Chunk(goTest(t, dir, "-json", "./none", "./"+name), 100) { // as pipes deliver it
				if _, err := r.Write(piece); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if got := lines(got.Bytes()); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if r.count != counts[name] {
				t.Errorf("counted %+v, want %+v", r.count, counts[name])
			}
		})
	}
}

// goTest returns what go test prints; whether it fails is known.
func goTest(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-count=1"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if len(out) == 0 {
		t.Fatal(err)
	}
	return out
}

// lines returns the lines of an output, sorted, without what differs between the
// two runs: durations, indentation, and the marks that only -v prints.
func lines(out []byte) []string {
	var all []string
	for line := range strings.Lines(seconds.ReplaceAllString(string(out), "0s")) {
		if !strings.HasPrefix(line, "=== ") {
			all = append(all, strings.TrimSpace(line))
		}
	}
	slices.Sort(all)
	return all
}

func TestPytestIsCounted(t *testing.T) {
	t.Parallel()
	tests := map[string]count{
		"============================= 120 passed in 33.44s =============================\n": {passed: 120},
		"3 failed, 120 passed, 1 skipped in 4.20s\n":                                         {passed: 120, failed: 3, skipped: 1},
		"=== 118 passed, 2 errors, 7 warnings in 65.20s (0:01:05) ===\n":                     {passed: 118, failed: 2},
		"rotation: 12 passed, as planned\n":                                                  {},
		"all 12 passed in 3.1s\n":                                                            {},
	}
	for line, want := range tests {
		var out bytes.Buffer
		r := newRenderer(&out)
		if _, err := r.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if r.count != want {
			t.Errorf("%q counts as %+v, want %+v", line, r.count, want)
		}
		if out.String() != line {
			t.Errorf("%q was printed as %q", line, out.String())
		}
	}
}
