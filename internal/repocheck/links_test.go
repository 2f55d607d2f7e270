package repocheck_test

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	fencedCode   = regexp.MustCompile("(?ms)^ *```.*?^ *```")
)

// Links to other hosts are not followed: a test does not depend on the network.
func TestLinksBetweenDocumentsLeadSomewhere(t *testing.T) {
	links := 0
	files(t, func(name string, content []byte) {
		if path.Ext(name) != ".md" {
			return
		}
		for _, target := range localLinks(string(content)) {
			links++
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(path.Join(path.Dir(name), target)))); err != nil {
				t.Errorf("%s: link to %s, which does not exist", name, target)
			}
		}
	})
	if links == 0 {
		t.Fatal("no link found: the expression is wrong")
	}
}

// localLinks gives the files that a Markdown text links to. Links to a heading of the same text name no file.
func localLinks(text string) []string {
	var targets []string
	for _, match := range markdownLink.FindAllStringSubmatch(fencedCode.ReplaceAllString(text, ""), -1) {
		u, err := url.Parse(match[1])
		if err == nil && u.Scheme == "" && u.Host == "" && strings.TrimSpace(u.Path) != "" {
			targets = append(targets, u.Path)
		}
	}
	return targets
}
