package integration

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// TestTheMasterKeyIsRotated: the command does all of it, under a node that runs, and
// finishes what was interrupted at each of its steps.
func TestTheMasterKeyIsRotated(t *testing.T) {
	t.Parallel()
	cfg, health := singleNode(t, "  - {id: api/key, ttl: 1h, create: true}\n")
	master := filepath.Join(filepath.Dir(cfg), "data", "master.key")
	do := func(args ...string) string {
		t.Helper()
		out, code := rotator(t, append(args, "--config", cfg)...)
		if code != 0 {
			t.Errorf("%v: exit %d: %s", args, code, out)
		}
		return out
	}
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	first := content(t, master)
	if out := do("keys", "rotate-master"); !strings.Contains(out, master+".old-") {
		t.Errorf("it does not say where the key from before is: %s", out)
	}
	do("rotate", "api/key")
	if kept, err := filepath.Glob(master + ".old-*"); err != nil || len(kept) != 1 || !bytes.Equal(content(t, kept[0]), first) {
		t.Errorf("the key from before is in %v, err %v", kept, err)
	}

	// Interrupted once the next key was made, and once the keyset was sealed with it.
	next := master + ".next"
	if _, err := natskv.GenerateMasterKey(next); err != nil {
		t.Fatal(err)
	}
	made := content(t, next)
	do("keys", "rotate-master")
	if !bytes.Equal(content(t, master), made) {
		t.Error("another key was made than the one that lay there")
	}
	do("keys", "change-master", "--new", next)
	do("rotate", "api/key", "--again")
	node.drain(t)
	node = start(t, "run", "--config", cfg)
	ready(t, health)
	do("rotate", "api/key", "--again")
	do("keys", "rotate-master")
	if _, err := os.Stat(next); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", next, err)
	}
	do("policy", "check")
	do("rotate", "api/key", "--again")
	node.drain(t)
}

func content(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
