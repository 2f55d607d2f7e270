package repocheck_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const invariants = 10

var (
	// A row of the table: | number | invariant | tests |.
	invariantRow = regexp.MustCompile(`(?m)^\| (\d+) \| (.+?) \|(.*)\|$`)
	// A test: `folder.TestName`.
	testName = regexp.MustCompile("`([\\w/]+)\\.((?:Test|Fuzz)\\w+)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

func TestEveryInvariantNamesTestsThatExist(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := invariantRow.FindAllStringSubmatch(string(guide), -1)
	if len(rows) != invariants {
		t.Fatalf("CONTRIBUTING.md lists %d invariants, want %d", len(rows), invariants)
	}
	exists := tests(t)
	for _, row := range rows {
		number, invariant := row[1], row[2]
		named := testName.FindAllStringSubmatch(row[3], -1)
		if len(named) == 0 {
			t.Errorf("invariant %s (%s) names no test", number, invariant)
		}
		for _, name := range named {
			if test := name[1] + "." + name[2]; !exists[test] {
				t.Errorf("invariant %s (%s): there is no %s", number, invariant, test)
			}
		}
	}
}

// tests is the set of all tests and fuzz targets of the repository, each as folder.Name.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	files(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		for _, match := range testFunc.FindAllStringSubmatch(string(content), -1) {
			found[path.Dir(name)+"."+match[1]] = true
		}
	})
	return found
}
