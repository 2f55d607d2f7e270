//go:build unix

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

// TestALinkStaysAndItsTargetChanges: the program may open either.
func TestALinkStaysAndItsTargetChanges(t *testing.T) {
	t.Parallel()
	for name, lay := range map[string]func(t *testing.T, dir string) (path, end string){
		"to a file": func(t *testing.T, dir string) (string, string) {
			link(t, "real/t", filepath.Join(dir, "f"))
			return filepath.Join(dir, "f"), filepath.Join(dir, "real", "t")
		},
		"through another link": func(t *testing.T, dir string) (string, string) {
			link(t, filepath.Join(dir, "real", "t"), filepath.Join(dir, "g"))
			link(t, "g", filepath.Join(dir, "f"))
			return filepath.Join(dir, "f"), filepath.Join(dir, "real", "t")
		},
		"as in a volume of Kubernetes": func(t *testing.T, dir string) (string, string) {
			link(t, "real", filepath.Join(dir, "..data"))
			link(t, "..data/t", filepath.Join(dir, "f"))
			return filepath.Join(dir, "f"), filepath.Join(dir, "real", "t")
		},
		"out of a linked directory": func(t *testing.T, dir string) (string, string) {
			link(t, "real", filepath.Join(dir, "d"))
			link(t, "../real/t", filepath.Join(dir, "real", "f"))
			return filepath.Join(dir, "d", "f"), filepath.Join(dir, "real", "t")
		},
	} {
		for _, exists := range []bool{true, false} {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
				t.Fatal(err)
			}
			path, end := lay(t, dir)
			if exists {
				if err := os.WriteFile(end, []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			f := File{ID: "db", Path: path, Mode: 0o400, UID: -1, GID: -1}
			deliver(t, &delivery{file: f}, change("v1", "one"))
			deliver(t, &delivery{file: f}, change("v2", "two"))
			if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 {
				t.Errorf("%s: the link is gone: %v", name, err)
			}
			if content(t, end) != "two" || content(t, path) != "two" || !f.holds(secret.NewValue([]byte("two"))) {
				t.Errorf("%s: the target holds %q, the link leads to %q", name, content(t, end), content(t, path))
			}
		}
	}
}

func TestALinkThatLeadsNowhereFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link(t, "f", filepath.Join(dir, "f"))
	link(t, "none/t", filepath.Join(dir, "g"))
	for _, name := range []string{"f", "g"} {
		path := filepath.Join(dir, name)
		d := &delivery{file: File{ID: "db", Path: path, Mode: 0o400, UID: -1, GID: -1}}
		if err := d.hook(t.Context(), change("v1", "one")); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names the file", name, err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s is no link any more: %v", name, err)
		}
	}
}
