package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestARestoredNodeRetiresNothingByOldRecords backs a node up while an older version still
// has a user, lets that one be retired and rotates on, and restores. The node has the
// values of the backup, says what it does not know, and retires nothing before a person has
// said that no user is missing.
func TestARestoredNodeRetiresNothingByOldRecords(t *testing.T) {
	t.Parallel()
	cfg, health := singleNode(t, "  - {id: DB, ttl: 1h, grace: none, fence: 1s, create: true, consumers: [{name: erp}]}\n")
	dir := filepath.Dir(cfg)
	file := filepath.Join(dir, "node.backup")
	expect(t, 1, "no single node has run with this configuration", "backup", file, "--config", cfg)
	node := start(t, "run", "--config", cfg)
	ready(t, health)
	first := statusOf(t, cfg, "the secret is made", func(s consumerView) bool { return s.Version != "" })
	value := func(version string) string {
		return expect(t, 0, "", "get", "DB", "--version", version, "--reason", "a test", "--config", cfg)
	}
	values := map[string]string{first.Version: value(first.Version)}
	replace := func() string {
		t.Helper()
		before := statusOf(t, cfg, "there is a version", func(s consumerView) bool { return s.Version != "" }).Version
		expect(t, 0, before+" → ", "rotate", "DB", "--config", cfg)
		return statusOf(t, cfg, "the version is replaced", func(s consumerView) bool { return s.Version != before && s.Rollout == "waiting" }).Version
	}
	confirm := func(version string) {
		t.Helper()
		expect(t, 0, "erp is confirmed to use "+version, "confirm", "DB", "--consumer", "erp", "--version", version, "--config", cfg)
	}
	second := replace()
	values[second] = value(second)
	out := expect(t, 0, "to be kept elsewhere", "backup", file, "--config", cfg)
	for _, key := range []string{"master.key", "signing.key", "operator.nk"} {
		if !strings.Contains(out, key) {
			t.Errorf("backup does not name %s: %s", key, out)
		}
	}
	expect(t, 1, "choose another name", "backup", file, "--config", cfg)

	confirm(second)
	statusOf(t, cfg, "the first version is retired", func(s consumerView) bool { return s.Rollout == "retired" })
	replace()
	if code := node.drain(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	expect(t, 1, "holds nats", "restore", file, "--config", cfg)

	moveData(t, filepath.Join(dir, "data"))
	expect(t, 0, "start the node", "restore", file, "--config", cfg)
	node = start(t, "run", "--config", cfg)
	ready(t, health)
	s := statusOf(t, cfg, "the rollout of the backup goes on", func(s consumerView) bool { return s.Version == second && s.Rollout == "waiting" })
	for version, want := range values {
		if value(version) != want {
			t.Errorf("the value of %s is another one", version)
		}
	}
	if s.Safe.Answer == "yes" {
		t.Errorf("status says %+v", s.Safe)
	}
	confirm(second)
	s = statusOf(t, cfg, "the fleet is unknown", func(s consumerView) bool { return strings.Contains(s.Safe.Because, "confirm-fleet") })
	if s.Safe.Answer != "unknown" || value(first.Version) != values[first.Version] {
		t.Errorf("status says %+v", s.Safe)
	}
	expect(t, 0, "", "confirm-fleet", "--reason", "erp is the only one", "--config", cfg)
	statusOf(t, cfg, "the fleet is known", func(s consumerView) bool { return s.Version == second && s.Safe.Answer != "unknown" })
	if value(second) != values[second] {
		t.Error("the value in use is another one")
	}
	if code := node.drain(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	theFileIsChecked(t, cfg, file)
}

// moveData makes a data directory anew that has the keys alone.
func moveData(t *testing.T, data string) {
	t.Helper()
	if err := os.Rename(data, data+".lost"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"master.key", "signing.key"} {
		b, err := os.ReadFile(filepath.Join(data+".lost", key))
		if err == nil {
			err = os.WriteFile(filepath.Join(data, key), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// theFileIsChecked: a file that was altered, cut off, extended or signed by another key is
// refused, and nothing is written.
func theFileIsChecked(t *testing.T, cfg, file string) {
	t.Helper()
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(filepath.Dir(cfg), "data")
	if err := os.RemoveAll(filepath.Join(data, "nats")); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(good, []byte(`"name":"USES"`)) {
		t.Error("the backup has the stream of uses, which is not true any more when it is restored")
	}
	last := bytes.Clone(good)
	last[len(last)-1] ^= 1
	for what, b := range map[string][]byte{
		"altered manifest": bytes.Replace(good, []byte(`"format_version":1`), []byte(`"format_version":2`), 1),
		"altered snapshot": last,
		"truncated":        good[:len(good)-1],
		"extended":         append(bytes.Clone(good), 0),
		"empty":            nil,
	} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, code := rotator(t, "restore", bad, "--config", cfg); code != 1 || !strings.Contains(out, "altered or is not whole") {
			t.Errorf("%s: exit code %d: %s", what, code, out)
		}
	}
	other := filepath.Join(t.TempDir(), "other.key")
	expect(t, 0, "", "keys", "new", "signing", other)
	expect(t, 1, "is not trusted here", "restore", file, "--key", other+".pub", "--config", cfg)
	expect(t, 2, "no such file", "restore", file+"x", "--config", cfg)
	if _, err := os.Stat(filepath.Join(data, "nats")); err == nil {
		t.Error("something was written")
	}
	expect(t, 0, "streams are as of", "restore", file, "--config", cfg)
}
