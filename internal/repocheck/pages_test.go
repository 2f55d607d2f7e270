package repocheck_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// TestEveryPageIsReachableFromTheIndex follows the links from docs/README.md: each page
// but the decisions, and the notes of tools, can be found from there.
func TestEveryPageIsReachableFromTheIndex(t *testing.T) {
	pages := map[string]string{}
	files(t, func(name string, content []byte) {
		if path.Ext(name) == ".md" && !strings.HasPrefix(name, "docs/adr/") && !strings.HasPrefix(name, "tools/") && !strings.Contains(name, "testdata/") {
			pages[name] = string(content)
		}
	})
	const index = "docs/README.md"
	seen := map[string]bool{index: true}
	for next := []string{index}; len(next) > 0; next = next[1:] {
		for _, target := range localLinks(pages[next[0]]) {
			target = path.Join(path.Dir(next[0]), target)
			if _, ok := pages[target]; ok && !seen[target] {
				seen[target] = true
				next = append(next, target)
			}
		}
	}
	for name := range pages {
		if !seen[name] {
			t.Errorf("%s cannot be reached from %s", name, index)
		}
	}
	if len(pages) < 30 || len(seen) < 30 {
		t.Errorf("%d pages, %d reached: the list of pages or the expression of links is wrong", len(pages), len(seen))
	}
}

var (
	anchored = regexp.MustCompile(`\]\(([^()\s#]*)#([^()\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
)

// TestLinksToHeadingsLeadSomewhere: a heading that a link names is on the page.
func TestLinksToHeadingsLeadSomewhere(t *testing.T) {
	links := 0
	files(t, func(name string, content []byte) {
		if path.Ext(name) != ".md" {
			return
		}
		for _, match := range anchored.FindAllStringSubmatch(fencedCode.ReplaceAllString(string(content), ""), -1) {
			target := path.Join(path.Dir(name), match[1])
			if match[1] == "" {
				target = name
			}
			if strings.Contains(match[1], ":") || path.Ext(target) != ".md" {
				continue
			}
			links++
			page, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(target)))
			if err == nil && !headings(string(page))[match[2]] {
				t.Errorf("%s: %s has no heading #%s", name, target, match[2])
			}
		}
	})
	if links < 20 {
		t.Errorf("only %d links to headings found: the expression is wrong", links)
	}
}

// headings returns the names that links to the headings of a page have.
func headings(text string) map[string]bool {
	out := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(fencedCode.ReplaceAllString(text, ""), -1) {
		out[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, match[1])] = true
	}
	return out
}
