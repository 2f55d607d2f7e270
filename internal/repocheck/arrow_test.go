package repocheck_test

import (
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tradepulse/rotator/"

// pkg is what `go list -json` says about one package, as far as the arrows need it.
type pkg struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string // everything it is linked with; tests aside
}

// scope says which imports of a package an arrow is about.
type scope int

const (
	direct    scope = iota // written in a file that is not a test
	withTests              // written in any file
	linked                 // direct, and all that those import in turn
	anyhow                 // linked, and what the tests import
)

func (s scope) imports(p pkg) []string {
	switch s {
	case withTests:
		return slices.Concat(p.Imports, p.TestImports, p.XTestImports)
	case linked:
		return p.Deps
	case anyhow:
		return slices.Concat(p.Deps, p.TestImports, p.XTestImports)
	default:
		return p.Imports
	}
}

// An arrow says what the packages of one side may not import. Patterns are import paths without the module's own
// prefix, and "/..." at the end takes in what lies below. Exactly one of never and only is set.
type arrow struct {
	reason string
	from   []string
	except []string // packages that from would match, and that the arrow is not about
	scope  scope
	never  []string
	only   []string // besides the standard library
}

func (a arrow) matches(all map[string]pkg) []pkg {
	var found []pkg
	for _, p := range all {
		ours := strings.HasPrefix(p.ImportPath, module)
		if ours && matchesAny(a.from, p.ImportPath) && !matchesAny(a.except, p.ImportPath) {
			found = append(found, p)
		}
	}
	return found
}

func (a arrow) violations(all map[string]pkg) []string {
	var found []string
	for _, p := range a.matches(all) {
		for _, path := range a.scope.imports(p) {
			if !a.allows(path, all[path].Standard) {
				found = append(found, short(p.ImportPath)+" imports "+short(path))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func (a arrow) allows(path string, standard bool) bool {
	if a.only == nil {
		return !matchesAny(a.never, path)
	}
	return standard || matchesAny(a.only, path)
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern, path) })
}

func matches(pattern, path string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	path = short(path)
	return path == base || below && strings.HasPrefix(path, base+"/")
}

func short(path string) string { return strings.TrimPrefix(path, module) }

// Without these, a rule that matches nothing would look like a rule that everybody keeps.
func TestArrows(t *testing.T) {
	std := pkg{ImportPath: "testing", Standard: true}
	tests := map[string]struct {
		arrow arrow
		pkg   pkg
		want  string
	}{
		"an import that is never allowed is found": {
			arrow{from: []string{"pkg/a"}, never: []string{"pkg/b"}},
			pkg{ImportPath: module + "pkg/a", Imports: []string{module + "pkg/b"}},
			"pkg/a imports pkg/b",
		},
		"the same path in another module is another package": {
			arrow{from: []string{"pkg/a"}, never: []string{"pkg/b"}},
			pkg{ImportPath: module + "pkg/a", Imports: []string{"example.org/pkg/b"}},
			"",
		},
		"dots take in what lies below": {
			arrow{from: []string{"pkg/a/..."}, never: []string{"pkg/b/..."}},
			pkg{ImportPath: module + "pkg/a/x", Imports: []string{module + "pkg/b/y"}},
			"pkg/a/x imports pkg/b/y",
		},
		"dots do not take in a longer name": {
			arrow{from: []string{"pkg/a"}, never: []string{"pkg/b/..."}},
			pkg{ImportPath: module + "pkg/a", Imports: []string{module + "pkg/bc"}},
			"",
		},
		"a direct arrow leaves tests alone": {
			arrow{from: []string{"pkg/a"}, never: []string{"pkg/b"}},
			pkg{ImportPath: module + "pkg/a", TestImports: []string{module + "pkg/b"}},
			"",
		},
		"an arrow with tests finds those of the same package": {
			arrow{from: []string{"pkg/a"}, scope: withTests, never: []string{"pkg/b"}},
			pkg{ImportPath: module + "pkg/a", TestImports: []string{module + "pkg/b"}},
			"pkg/a imports pkg/b",
		},
		"an arrow with tests finds those beside the package": {
			arrow{from: []string{"pkg/a"}, scope: withTests, never: []string{"pkg/b"}},
			pkg{ImportPath: module + "pkg/a", XTestImports: []string{module + "pkg/b"}},
			"pkg/a imports pkg/b",
		},
		"a package of the standard library is never the one that imports": {
			arrow{from: []string{"internal/..."}, never: []string{"testing"}},
			pkg{ImportPath: "internal/testenv", Imports: []string{"testing"}},
			"",
		},
		"an arrow of any kind finds imports of tests": {
			arrow{from: []string{"pkg/a"}, scope: anyhow, never: []string{"pkg/b"}},
			pkg{ImportPath: module + "pkg/a", XTestImports: []string{module + "pkg/b"}},
			"pkg/a imports pkg/b",
		},
		"a linked arrow finds what an import brings along": {
			arrow{from: []string{"pkg/a"}, scope: linked, never: []string{natsServer}},
			pkg{ImportPath: module + "pkg/a", Deps: []string{"github.com/nats-io/nats-server/v2/server"}},
			"pkg/a imports github.com/nats-io/nats-server/v2/server",
		},
		"an exception is not looked at": {
			arrow{from: []string{"pkg/..."}, except: []string{"pkg/a/..."}, never: []string{"pkg/b"}},
			pkg{ImportPath: module + "pkg/a/x", Imports: []string{module + "pkg/b"}},
			"",
		},
		"only what is listed may be imported": {
			arrow{from: []string{"pkg/a"}, only: []string{"pkg/b"}},
			pkg{ImportPath: module + "pkg/a", Imports: []string{module + "pkg/b", "example.org/c"}},
			"pkg/a imports example.org/c",
		},
		"only what is listed, and the standard library": {
			arrow{from: []string{"pkg/a"}, only: []string{"pkg/b"}},
			pkg{ImportPath: module + "pkg/a", Imports: []string{"testing"}},
			"",
		},
		"a package of the standard library can be forbidden by name": {
			arrow{from: []string{"pkg/a"}, never: []string{"testing"}},
			pkg{ImportPath: module + "pkg/a", Imports: []string{"testing"}},
			"pkg/a imports testing",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := strings.Join(tt.arrow.violations(map[string]pkg{tt.pkg.ImportPath: tt.pkg, std.ImportPath: std}), "; ")
			if got != tt.want {
				t.Errorf("violations = %q, want %q", got, tt.want)
			}
		})
	}
}
