package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

// TestMain lets the test program stand for rotator in scripts.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_PROGRAM") != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestCompose: setup makes every file that compose.yaml mounts, and the programs and the
// NATS server understand them.
func TestCompose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../deployments/compose")); err != nil {
		t.Fatal(err)
	}
	setup(t, dir)
	content, err := os.ReadFile(filepath.Join(dir, "compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Volumes     []string          `yaml:"volumes"`
			Environment map[string]string `yaml:"environment"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal(content, &compose); err != nil {
		t.Fatal(err)
	}
	for name, s := range compose.Services {
		mounted := map[string]bool{}
		for _, v := range s.Volumes {
			from, rest, _ := strings.Cut(v, ":")
			to, _, _ := strings.Cut(rest, ":")
			mounted[to] = true
			if _, err := os.Stat(filepath.Join(dir, from)); err != nil && strings.HasPrefix(from, "./") {
				t.Errorf("%s mounts what setup does not make: %v", name, err)
			}
		}
		if len(s.Environment) > 0 {
			composed(t, dir, name, s.Environment, mounted)
		}
	}
	if _, err := server.ProcessConfigFile(natsConf(t, dir)); err != nil {
		t.Error(err)
	}
}

// composed reads the configuration as a program in its container does.
func composed(t *testing.T, dir, name string, environment map[string]string, mounted map[string]bool) {
	t.Helper()
	var env []string
	for k, v := range environment {
		env = append(env, k+"="+v)
		if !mounted[v] {
			t.Errorf("%s: %s names %s, which is not mounted", name, k, v)
		}
	}
	cfg, err := config.Load(filepath.Join(dir, "rotator.yaml"), env)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if cfg.SingleNode() || cfg.NATS.Credentials.NKeyFile == "" {
		t.Errorf("%s: %+v", name, cfg.NATS)
	}
}

// natsConf puts the accounts where the container has them.
func natsConf(t *testing.T, dir string) string {
	t.Helper()
	if err := os.Rename(filepath.Join(dir, "made", "accounts.conf"), filepath.Join(dir, "accounts.conf")); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "nats.conf")
}

// setup runs the script with this program as rotator. Only root may give files away, so
// chown is left out.
func setup(t *testing.T, dir string) {
	t.Helper()
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{"rotator": `TEST_AS_PROGRAM=1 exec "` + self + `" "$@"`, "chown": "exit 0"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "./setup")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
