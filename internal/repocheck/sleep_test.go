package repocheck_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// A sleep in real time is either too short on a busy machine or too long on every other. In a testing/synctest bubble
// it moves the fake clock and takes no time. Whether a helper is called from a bubble shows in no syntax tree, so a
// file that imports testing/synctest is believed.
func TestTestsSleepOnlyInFakeTime(t *testing.T) {
	parsed := 0
	files(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		parsed++
		for _, at := range sleeps(t, name, content) {
			t.Errorf("%s: time.Sleep in real time: wait for a signal, or poll with a deadline", at)
		}
	})
	if parsed == 0 {
		t.Fatal("no test file found")
	}
}

func TestSleeps(t *testing.T) {
	const call = "func f() { time.Sleep(1) }"
	tests := map[string]struct {
		source string
		want   int
	}{
		"a sleep in real time is found":          {"package p\nimport \"time\"\n" + call, 1},
		"also under another name":                {"package p\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }", 1},
		"also when it is passed on":              {"package p\nimport \"time\"\nvar f = time.Sleep", 1},
		"one in a file with bubbles is not":      {"package p\nimport (\"time\"; \"testing/synctest\")\n" + call, 0},
		"a method of the same name is not":       {"package p\nfunc f(time interface{ Sleep(int) }) { time.Sleep(1) }", 0},
		"other functions of the package are not": {"package p\nimport \"time\"\nvar f = time.Now", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sleeps(t, "p.go", []byte(tt.source)); len(got) != tt.want {
				t.Errorf("found %v, want %d", got, tt.want)
			}
		})
	}
}

// sleeps gives the positions at which a file names time.Sleep, none if it imports testing/synctest.
func sleeps(t *testing.T, name string, source []byte) []string {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
	if err != nil {
		return nil // the compiler says it better
	}
	clock := importName(file, "time")
	if clock == "" || importName(file, "testing/synctest") != "" {
		return nil
	}
	var found []string
	for node := range ast.Preorder(file) {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok || selector.Sel.Name != "Sleep" {
			continue
		}
		if x, ok := selector.X.(*ast.Ident); ok && x.Name == clock {
			found = append(found, fset.Position(selector.Pos()).String())
		}
	}
	return found
}

// importName is the name by which a file calls a package, empty if it does not import it.
func importName(file *ast.File, path string) string {
	for _, spec := range file.Imports {
		if imported, err := strconv.Unquote(spec.Path.Value); err != nil || imported != path {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path[strings.LastIndex(path, "/")+1:]
	}
	return ""
}
