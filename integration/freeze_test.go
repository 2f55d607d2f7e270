package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestActsDuringAFreeze: rotate refuses, names the freeze and what goes on nevertheless;
// what a person does anyway is recorded with the freeze, and is in the evidence.
func TestActsDuringAFreeze(t *testing.T) {
	t.Parallel()
	cfg, health := singleNode(t, "  - {id: api/key, store: main, ttl: 1h, create: true, services: [api]}\n  - {id: api/leak, store: main, ttl: 1h, create: true, no_subscribers: retire-after-grace, grace: 1s, fence: 1s}\n  - {id: api/free, store: main, ttl: 1h, create: true}\n")
	day := func(d int) string { return time.Now().AddDate(0, 0, d).UTC().Format(time.DateOnly) }
	appendTo(t, cfg, fmt.Sprintf("freeze:\n  - {reason: year-end close, from: %s, to: %s, secrets: [api/key, api/leak]}\n", day(-1), day(2)))
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	rotated(t, node, 3)
	run := func(want int, in string, args ...string) string {
		t.Helper()
		out, errs, code := piped(t, in, append(args, "--config", cfg)...)
		if code != want {
			t.Fatalf("%q: exit %d, want %d\n%s%s", args, code, want, out, errs)
		}
		return out + errs
	}
	until := "until " + day(2) + "T00:00:00Z"
	shows(t, run(0, "", "status", "api/key"), "year-end close")
	shows(t, run(1, "", "rotate", "api/key"), "year-end close", until, "--during-freeze")
	if got := run(0, "", "history", "api/key"); strings.Contains(got, ": rotate") {
		t.Errorf("a rotation that was refused is on record:\n%s", got)
	}
	run(0, "", "rotate", "api/free")
	shows(t, run(0, "", "rotate", "api/key", "--during-freeze", "--reason", "the auditor asked"), "overrules the freeze year-end close", " → ")
	run(0, "Supplied-Value-0123456789-abc-defghi", "put", "api/key", "--reason", "the vendor changed it")
	run(0, "", "rollback", "api/key", "--reason", "the vendor changed its mind")
	run(0, "", "rotate", "api/leak", "--emergency", "--yes", "--ticket", "INC-1", "--reason", "it was in a log")

	got := run(0, "", "history", "api/key")
	for act, why := range map[string]string{": rotate": "the auditor asked", "put": "the vendor changed it", "rollback": "the vendor changed its mind"} {
		if !hasLine(got, act, why, "during the freeze year-end close", until) {
			t.Errorf("no %s that names its freeze in:\n%s", act, got)
		}
	}
	if got := run(0, "", "history", "api/leak"); !hasLine(got, "emergency", "it was in a log", "during the freeze year-end close") {
		t.Errorf("no emergency that names its freeze in:\n%s", got)
	}
	if got := run(0, "", "history", "api/free"); strings.Contains(got, "freeze") {
		t.Errorf("a freeze that is not about a secret is in its history:\n%s", got)
	}
	dir := filepath.Join(t.TempDir(), "evidence")
	run(0, "", "evidence", "--from", day(-1), "--out", dir)
	table, err := os.ReadFile(filepath.Join(dir, "exceptions.csv"))
	if n := strings.Count(string(table), "overrules the freeze year-end close"); err != nil || n != 4 {
		t.Errorf("%d exceptions name the freeze, want 4, err %v:\n%s", n, err, table)
	}
	node.drain(t)
}

// hasLine reports whether a line of text has every part.
func hasLine(text string, parts ...string) bool {
	for line := range strings.Lines(text) {
		all := true
		for _, part := range parts {
			all = all && strings.Contains(line, part)
		}
		if all {
			return true
		}
	}
	return false
}
