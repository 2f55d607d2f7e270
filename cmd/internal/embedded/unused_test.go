package embedded_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/embedded"
)

// TestUnusedKnowsTheDirectoryOfAnotherProcess before any address is asked for.
func TestUnusedKnowsTheDirectoryOfAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	for _, free := range []string{dir, filepath.Join(dir, "not there yet")} {
		if err := embedded.Unused(free); err != nil {
			t.Errorf("%s: %v", free, err)
		}
	}
	if _, err := start(t, embedded.Options{StoreDir: dir}); err != nil {
		t.Fatal(err)
	}
	if err := embedded.Unused(dir); err == nil || !strings.Contains(err.Error(), "node.data_dir") || !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("the directory of a server: %v", err)
	}
}
