package newfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tradepulse/rotator/internal/newfile"
)

func TestAFileIsMadeOnceAndWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := newfile.Write(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := newfile.Write(path, []byte("second"), 0o600); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second file: %v", err)
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != "first" {
		t.Errorf("it holds %q, %v", b, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
}
