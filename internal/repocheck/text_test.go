package repocheck_test

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// taboo is text that ties the repository to one machine or one network. The expressions are written so that they do
// not match themselves.
var taboo = []struct {
	reason string
	text   *regexp.Regexp
}{
	{
		"a path of one machine: use a relative one, t.TempDir or a variable",
		regexp.MustCompile(`(?:^|[\s"'=(:,` + "`" + `])/(?:work|root|tmp|home/[\w.-]+|Users/[\w.-]+|mnt|private)(?:/|\b)`),
	},
	{
		"a package registry is chosen by the machine's own configuration, never by the repository",
		regexp.MustCompile(`(?i)\b(?:` + strings.Join([]string{
			`(?:proxy|sum|index)[.]golang[.]org`,
			`(?:test[.])?pypi[.](?:org|python[.]org)`, `files[.]pythonhosted[.]org`,
			`registry[.](?:npmjs|yarnpkg)[.](?:org|com)`,
			`(?:static[.]|index[.])?crates[.]io`,
			`repo1?[.]maven[.](?:apache[.]org|org)`,
			`(?:deb|security|snapshot)[.]debian[.]org`, `archive[.]ubuntu[.]com`,
			`goproxy[.](?:io|cn)`,
		}, "|") + `)\b`),
	},
	{
		"pip takes its index from the machine",
		regexp.MustCompile(`--(?:extra-)?index[-]url|--trusted[-]host|--find[-]links`),
	},
}

func TestNoTrackedFileNamesAMachineOrARegistry(t *testing.T) {
	seen := 0
	files(t, func(name string, content []byte) {
		if bytes.IndexByte(content, 0) >= 0 {
			return // not text
		}
		seen++
		for i, line := range strings.Split(string(content), "\n") {
			for _, f := range findings(line) {
				t.Errorf("%s:%d: %s", name, i+1, f)
			}
		}
	})
	if seen < 10 {
		t.Fatalf("read %d files: the list of tracked files is wrong", seen)
	}
}

func TestTaboo(t *testing.T) {
	tests := map[string]struct {
		line string
		want bool
	}{
		"a home folder":               {"cd /" + "home/jane/src", true},
		"a temporary file":            {"open(\"/" + "tmp/x\")", true},
		"the administrator's folder":  {"cache=/" + "root/.cache", true},
		"a path at the line's start":  {"/" + "work/main", true},
		"a folder that ends the line": {"COPY . /" + "root", true},
		"a relative path":             {"see docs/work/notes.md", false},
		"a longer name":               {"GET /" + "workers and /" + "rooted", false},
		"a path inside a URL":         {"https://example.org/" + "tmp/x", false},
		"a registry":                  {"GOPROXY=https://proxy." + "golang.org", true},
		"an index for pip":            {"--index-" + "url https://example.org", true},
		"a module path":               {"golang.org/x/sync", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := findings(tt.line); len(got) > 0 != tt.want {
				t.Errorf("findings(%q) = %v, want some: %t", tt.line, got, tt.want)
			}
		})
	}
}

func findings(line string) []string {
	var found []string
	for _, rule := range taboo {
		if match := rule.text.FindString(line); match != "" {
			found = append(found, strings.TrimSpace(match)+": "+rule.reason)
		}
	}
	return slices.Compact(found)
}
