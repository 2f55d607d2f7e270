package repocheck_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const dependencies = "docs/dependencies.md"

// A row of the table: | `module` | why |.
var dependencyRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\|(.*)\\|$")

func TestEveryDirectDependencyHasAReason(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(dependencies)))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range dependencyRow.FindAllStringSubmatch(string(content), -1) {
		path, reason := row[1], strings.TrimSpace(row[2])
		if reason == "" {
			t.Errorf("%s: %s has no reason", dependencies, path)
		}
		if documented[path] {
			t.Errorf("%s: %s stands there twice", dependencies, path)
		}
		documented[path] = true
	}
	required := directRequires(t)
	for _, path := range required {
		if !documented[path] {
			t.Errorf("%s: go.mod requires %s; say why", dependencies, path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(documented)) {
		if !slices.Contains(required, path) {
			t.Errorf("%s: go.mod does not require %s directly; remove its row", dependencies, path)
		}
	}
}

func directRequires(t *testing.T) []string {
	t.Helper()
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(output(t, "go", "mod", "edit", "-json"), &mod); err != nil {
		t.Fatalf("decode go.mod: %v", err)
	}
	var paths []string
	for _, r := range mod.Require {
		if !r.Indirect {
			paths = append(paths, r.Path)
		}
	}
	return paths
}
