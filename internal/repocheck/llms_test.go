package repocheck_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLlmsTxtHasEveryPage: llms.txt links to every page of docs except the decisions, and to nothing that is not there.
func TestLlmsTxtHasEveryPage(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "llms.txt"))
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{}
	for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(string(content), -1) {
		linked[m[1]] = true
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(m[1]))); err != nil {
			t.Errorf("llms.txt: %v", err)
		}
	}
	files(t, func(name string, _ []byte) {
		page := strings.HasPrefix(name, "docs/") && strings.HasSuffix(name, ".md") && !strings.HasPrefix(name, "docs/adr/")
		if page && !linked[name] {
			t.Errorf("llms.txt does not link to %s", name)
		}
	})
}
