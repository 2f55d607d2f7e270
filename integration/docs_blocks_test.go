package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/settings"
)

// TestShellBlocksInDocuments reads every shell block of every page, also those that
// need a cluster or a cloud and cannot run here: each is shell that can be pasted,
// the programs have the commands and flags, and each ROTATOR_ variable is a setting.
func TestShellBlocksInDocuments(t *testing.T) {
	t.Parallel()
	var docs []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/targets/*.md", "../clients/*/README.md", "../examples/*/README.md", "../deployments/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, found...)
	}
	seen := 0
	for _, doc := range docs {
		for _, block := range shellBlocks(t, doc) {
			seen++
			if err := pastes(t, block); err != nil {
				t.Errorf("%s: %v in\n%s", doc, err, block)
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d blocks found: have the documents another form now?", seen)
	}
}

func shellBlocks(t *testing.T, doc string) []string {
	t.Helper()
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	parts := strings.Split(string(text), "\n```sh\n")
	for _, part := range parts[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		out = append(out, block)
	}
	return out
}

// pastes reports why a block cannot be pasted.
func pastes(t *testing.T, block string) error {
	t.Helper()
	check := exec.CommandContext(t.Context(), "sh", "-n")
	check.Stdin = strings.NewReader(block)
	if out, err := check.CombinedOutput(); err != nil {
		return fmt.Errorf("it is not shell: %s", out)
	}
	if strings.Contains(block, "…") || strings.Contains(block, "=...") {
		return fmt.Errorf("an ellipsis stands for a value")
	}
	for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
		line, _, _ = strings.Cut(line, " # ")
		words := strings.Fields(line)
		for _, w := range words {
			if name, _, ok := strings.Cut(w, "="); ok && strings.HasPrefix(name, settings.VariablePrefix) && !isSetting(t, name) {
				return fmt.Errorf("%s is not a setting", name)
			}
		}
		if len(words) > 3 && slices.Equal(words[:2], []string{"go", "run"}) {
			words = append([]string{filepath.Base(words[2])}, words[3:]...)
		}
		if len(words) > 1 && (words[0] == "rotator" || words[0] == "notifier") {
			help := exec.CommandContext(t.Context(), binary(t, words[0]), append(words[1:], "--help")...)
			if out, err := help.CombinedOutput(); err != nil {
				return fmt.Errorf("%v: %s", words, out)
			}
		}
	}
	return nil
}

// isSetting reports whether a variable is a setting of a service, or one that the
// reference of the programs lists.
func isSetting(t *testing.T, name string) bool {
	t.Helper()
	reference, err := os.ReadFile("../docs/reference/config.md")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(settings.ServiceVariables(), name) || strings.Contains(string(reference), "`"+name+"`")
}
