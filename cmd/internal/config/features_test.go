package config_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// TestNoProgramAsksForTheTypeOfAStore: what a store can do is in the features that
// its driver declares. Only what opens a store switches on the type of its
// settings.
func TestNoProgramAsksForTheTypeOfAStore(t *testing.T) {
	t.Parallel()
	var types []string
	for _, o := range config.StoreTypes() {
		types = append(types, reflect.TypeOf(o).Elem().Name())
	}
	const root, opens = "../..", "internal/wire/stores.go"
	asked := map[string]int{} // :: file → how often
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		asked[path] = 0
		ast.Inspect(file, func(n ast.Node) bool {
			asked[path] += len(assertions(n, types))
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(types) == 0 || asked[opens] != len(types) {
		t.Errorf("%s knows %d of %d types of store", opens, asked[opens], len(types))
	}
	delete(asked, opens)
	for path, n := range asked {
		if n > 0 {
			t.Errorf("cmd/%s asks %d times for the type of a store; ask its features", path, n)
		}
	}
}

// assertions returns the types among the given ones that a node asserts.
func assertions(n ast.Node, types []string) []string {
	var asserted []ast.Expr
	switch n := n.(type) {
	case *ast.TypeAssertExpr:
		asserted = []ast.Expr{n.Type}
	case *ast.CaseClause:
		asserted = n.List
	}
	var out []string
	for _, e := range asserted {
		star, ok := e.(*ast.StarExpr)
		if !ok {
			continue
		}
		name := star.X
		if sel, ok := name.(*ast.SelectorExpr); ok {
			name = sel.Sel
		}
		if id, ok := name.(*ast.Ident); ok && slices.Contains(types, id.Name) {
			out = append(out, id.Name)
		}
	}
	return out
}

// TestAWSEventsAreAboutTheStoresThatDeclareThem: the suite of the drivers cannot
// know which source pkg/eventbridge understands.
func TestAWSEventsAreAboutTheStoresThatDeclareThem(t *testing.T) {
	t.Parallel()
	if got := awssm.Features().EventSource; got != eventbridge.SecretsManager {
		t.Errorf("the driver declares the source %q, and the intake understands %q", got, eventbridge.SecretsManager)
	}
	cfg := config.Config{Stores: map[string]config.Store{
		"a": {Options: new(config.AWS)}, "v": {Options: new(config.Vault)}, "n": {Options: new(config.NATSKV)}, "e": {Options: new(config.Env)}, "refused": {},
	}}
	for name, c := range map[string]struct {
		has  func(store.Features) bool
		want []string
	}{
		"event source": {func(f store.Features) bool { return f.EventSource != "" }, []string{"a"}},
		"read only":    {func(f store.Features) bool { return f.ReadOnly }, []string{"e"}},
		"on the bus":   {func(f store.Features) bool { return f.OnBus }, []string{"n"}},
		"external":     {func(f store.Features) bool { return f.External }, []string{"a"}},
		"keyset":       {func(f store.Features) bool { return f.Keyset }, []string{"n"}},
		"attributes":   {func(f store.Features) bool { return f.Attributes }, []string{"a", "v"}},
	} {
		if got := cfg.With(c.has); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
