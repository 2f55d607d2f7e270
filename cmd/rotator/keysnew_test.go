package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// command runs a command and returns what it prints.
func command(args ...string) (string, error) {
	cmd := root()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	err := cmd.Execute()
	return out.String(), err
}

// TestKeysNew: each key is one that the programs load, for its owner only, and no file
// is replaced.
func TestKeysNew(t *testing.T) {
	t.Parallel()
	for kind, load := range map[string]func(file, printed string) error{
		"signing": func(file, printed string) error {
			if _, err := events.TrustFiles([]string{strings.TrimSpace(printed)}, nil); err != nil {
				return err
			}
			_, err := events.LoadSigner(file)
			return err
		},
		"master": func(file, _ string) error { _, err := natskv.LoadMasterKey(file); return err },
		"nkey": func(file, printed string) error {
			if got, err := readNKey(file); err != nil || got+"\n" != printed || !nkeys.IsValidPublicUserKey(got) {
				t.Errorf("%v: printed %q, the seed is of %q", err, printed, got)
			}
			return nil
		},
	} {
		file := filepath.Join(t.TempDir(), "key")
		printed, err := command("keys", "new", kind, file)
		if err != nil {
			t.Fatal(err)
		}
		if err := load(file, printed); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", kind, err, info.Mode())
		}
		if _, err := command("keys", "new", kind, file); err == nil {
			t.Errorf("%s: the file was replaced", kind)
		}
	}
	if _, err := command("keys", "new", "house", "x"); err == nil || !strings.Contains(err.Error(), "want signing, master or nkey") {
		t.Error(err)
	}
}

// TestNATSAccounts: the prefix, bucket and services of the configuration, and the same
// keys again after a change.
func TestNATSAccounts(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "nkeys")
	once, err := command("nats", "accounts", "--config", "../../docs/examples/cluster.yaml", "--keys", keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"prod.timer.>"`, `"$JS.API.STREAM.INFO.PROD_ROTATION"`, "  NIGHTLY_EXPORT {", `"prod.live.payments.*"`, "KV_secrets"} {
		if !strings.Contains(once, want) {
			t.Errorf("no %s in\n%s", want, once)
		}
	}
	if strings.Contains(once, "audit-api") || strings.Contains(once, "$NATS_") {
		t.Error("something of the template is left")
	}
	twice, err := command("nats", "accounts", "--config", "../../docs/examples/cluster.yaml", "--keys", keys, "--service", "reports")
	if err != nil || !strings.Contains(twice, "  REPORTS {") {
		t.Errorf("%v\n%s", err, twice)
	}
	seed, err := readNKey(filepath.Join(keys, "worker.nk"))
	if err != nil || !strings.Contains(once, seed) || !strings.Contains(twice, seed) {
		t.Errorf("%v: the key of the worker changed", err)
	}
	if _, err := command("nats", "accounts", "--config", "../../docs/examples/single-node.yaml", "--keys", keys); err == nil || !strings.Contains(err.Error(), "no nats.url") {
		t.Error(err)
	}
}
