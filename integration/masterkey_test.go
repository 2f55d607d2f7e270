package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// TestKeysOfTheEmbeddedStore rotates the keyset and changes the master key under
// a node that runs, and starts it anew with the one key and with the other.
func TestKeysOfTheEmbeddedStore(t *testing.T) {
	t.Parallel()
	cfg, health := singleNode(t, "  - {id: api/key, ttl: 1h, create: true}\n")
	fresh, master := filepath.Join(filepath.Dir(cfg), "new.key"), filepath.Join(filepath.Dir(cfg), "data", "master.key")
	do := func(want int, args ...string) string {
		t.Helper()
		out, code := rotator(t, append(args, "--config", cfg)...)
		if code != want {
			t.Errorf("%v: exit %d, want %d: %s", args, code, want, out)
		}
		return out
	}
	if out := do(1, "keys", "rotate"); !strings.Contains(out, "rotator run") {
		t.Errorf("without a node it does not say what to start: %s", out)
	}
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	waittest.Until(t, "the secret has a value", func() error {
		if out, code := policyCheck(t, nil, "--config", cfg); code != 0 {
			return fmt.Errorf("exit %d: %s", code, out)
		}
		return nil
	})
	for range 2 {
		do(0, "keys", "rotate")
		do(0, "rotate", "api/key", "--again")
	}
	do(2, "keys", "rotate", "--store", "other")
	do(2, "keys", "change-master")
	do(2, "keys", "change-master", "--new", master)

	if out := do(0, "keys", "change-master", "--new", fresh); !strings.Contains(out, fresh) || !strings.Contains(out, master) {
		t.Errorf("it does not say what to put in place of what: %s", out)
	}
	if out := do(1, "policy", "check"); !strings.Contains(out, "master_key") {
		t.Errorf("with the old master key: %s", out)
	}
	old, err := os.ReadFile(master)
	if err := errors.Join(err, os.Rename(fresh, master)); err != nil {
		t.Fatal(err)
	}
	do(0, "rotate", "api/key", "--again") // by the node that runs since before
	do(0, "keys", "rotate")
	do(0, "policy", "check")
	if code := node.drain(t); code != 0 {
		t.Errorf("drain: exit %d:\n%s", code, node.out)
	}

	node = start(t, "run", "--config", cfg)
	ready(t, health)
	do(0, "policy", "check")
	node.drain(t)
	if err := os.WriteFile(master, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := do(1, "run"); !strings.Contains(out, "master key does not open") {
		t.Errorf("a start with the old master key: %s", out)
	}
}

// TestAMasterKeyIsNotMadeBesideASealedBucket: a key that is missing at a start, on a
// volume that is not mounted yet, is not replaced by another one.
func TestAMasterKeyIsNotMadeBesideASealedBucket(t *testing.T) {
	t.Parallel()
	cfg, health := singleNode(t, "  - {id: api/key, ttl: 1h, create: true}\n")
	master := filepath.Join(filepath.Dir(cfg), "data", "master.key")
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	node.drain(t)
	if err := os.Rename(master, master+".kept"); err != nil {
		t.Fatal(err)
	}
	if out, code := rotator(t, "run", "--config", cfg); code != 1 || !strings.Contains(out, "put that back") {
		t.Errorf("exit %d: %s", code, out)
	}
	if _, err := os.Stat(master); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("another key was made: %v", err)
	}
}
