package scheduler

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"
)

// TestEveryReasonIsExported: the gauge of secrets shows the reasons that are
// listed, and an alert on one that is not would never fire.
func TestEveryReasonIsExported(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "decide.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Reason" {
			return true
		}
		for i, name := range spec.Names {
			lit, ok := spec.Values[i].(*ast.BasicLit)
			if !ok {
				t.Fatalf("%s has no literal value", name)
			}
			value, err := strconv.Unquote(lit.Value)
			if n++; err != nil || !slices.Contains(reasons, Reason(value)) {
				t.Errorf("%s is not among the reasons, %v", name, err)
			}
		}
		return true
	})
	if n == 0 || n != len(reasons) {
		t.Errorf("%d constants and %d reasons", n, len(reasons))
	}
}
