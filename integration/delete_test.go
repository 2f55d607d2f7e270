package integration

import (
	"errors"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// TestDeleteASecret: one that is taken out of the configuration is deleted with all its
// versions, its history stays, and one that is still listed is not deleted by mistake. Until
// it is deleted, a node that was started since shows it, although its path is not its ID.
func TestDeleteASecret(t *testing.T) {
	t.Parallel()
	const goes = "  - {id: api/old, path: kept/elsewhere, store: main, ttl: 1h, create: true}\n"
	cfg, health := singleNode(t, "  - {id: api/key, store: main, ttl: 1h, create: true}\n"+goes)
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	rotated(t, node, 2)
	run := func(want int, args ...string) string {
		t.Helper()
		out, errs, code := piped(t, "", append(args, "--config", cfg)...)
		if code != want {
			t.Fatalf("%q: exit %d, want %d\n%s%s", args, code, want, out, errs)
		}
		return out + errs
	}
	run(0, "rotate", "api/old")
	shows(t, run(1, "delete", "api/old", "--yes"), "nothing was done", "the configuration lists it")
	edit(t, cfg, goes, "")
	shows(t, run(1, "delete", "api/old", "--yes"), "still runs a configuration that lists it", "'rotator reload'")
	run(0, "reload")
	shows(t, run(1, "delete", "api/old"), "2 versions", "nothing is known to use it", "--yes")
	node.drain(t)
	node = start(t, "run", "--config", cfg)
	ready(t, health)
	shows(t, run(0, "status"), "api/old", "removed", "the configuration lists it no longer")
	shows(t, run(0, "list"), "api/old", "kept/elsewhere")
	var page string
	if err := get(t, "http://"+health+"/?format=json", &page); err != nil {
		t.Fatal(err)
	}
	shows(t, page, `"secret_id": "api/old"`, "the configuration lists it no longer")
	run(0, "get", "api/old")
	shows(t, run(1, "delete", "api/old"), "kept/elsewhere in the store main has 2 versions")
	run(0, "versions", "api/old")
	run(2, "delete", "api/old", "--yes", "--force")
	shows(t, run(0, "delete", "api/old", "--yes", "--reason", "the vendor is gone", "--ticket", "OPS-9"), "deleted kept/elsewhere in the store main, with 2 versions")
	shows(t, run(1, "get", "api/old"), "api/old")
	shows(t, run(0, "history", "api/old"), "delete of version", "because the vendor is gone (OPS-9)", "replaces")
	shows(t, run(1, "delete", "api/old", "--yes"), "api/old")
	waittest.Until(t, "the doctor finds no timer of it", func() error {
		if out, errs, _ := piped(t, "", "doctor", "--config", cfg); strings.Contains(out, "api/old") {
			return errors.New(out + errs)
		}
		return nil
	})
	node.drain(t)
	again := start(t, "run", "--config", cfg)
	ready(t, health)
	shows(t, run(1, "delete", "api/kez", "--yes"), "did you mean api/key?")
	if out := run(0, "status"); strings.Contains(out, "api/old") {
		t.Errorf("status:\n%s", out)
	}
	again.drain(t)
}
