package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
)

// TestPagesPasteAndRun pastes the shell blocks of a page into one shell, in their order,
// and fails when a command fails.
func TestPagesPasteAndRun(t *testing.T) {
	t.Parallel()
	t.Run("a cluster of three", func(t *testing.T) {
		t.Parallel()
		s := newPaste(t)
		for _, block := range shellBlocks(t, "../docs/cluster.md") {
			s.paste(block)
		}
		out := s.run("..")
		for _, want := range []string{"rotator.yaml: ok, 1 secret in 1 store", "no_live_instance", " → ", "replica_missing"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in the output:\n%s", want, out)
			}
		}
	})
	t.Run("a password of PostgreSQL on OpenBao", func(t *testing.T) {
		t.Parallel()
		s := newPaste(t)
		pg := serverstest.StartPostgres(t)
		s.ports["5432"] = strconv.Itoa(pg.Port)
		s.env = []string{"PGHOST=" + pg.Host, "PGPORT=" + s.ports["5432"], "PGUSER=" + pg.User, "PGPASSWORD=" + pg.Password}
		for _, block := range shellBlocks(t, "../docs/tutorial.md") {
			s.paste(block)
		}
		out := s.run("..")
		for _, want := range []string{"ORDERS_DB: ready", `{"by":"orders"}`, `{"by":"orders_clone"}`, "retired"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in the output:\n%s", want, out)
			}
		}
	})
	t.Run("backup and restore", func(t *testing.T) {
		t.Parallel()
		s := newPaste(t)
		s.file("rotator.yaml", fmt.Sprintf("node: {data_dir: %q, listen: '127.0.0.1:4222'}\nhttp: {listen: '127.0.0.1:8080'}\nstores: {main: {type: natskv}}\nsecrets: [{id: orders/db-password, ttl: 30d, create: true, consumers: [{name: orders}]}]\n",
			filepath.Join(s.home, ".local/state/rotator")))
		s.paste("rotator run --config rotator.yaml")
		s.paste("get() { rotator get orders/db-password --reason test --config rotator.yaml; }\nbefore=$(get)")
		for _, block := range shellBlocksOf(t, "../docs/operating.md", "Backup and restore") {
			if strings.Contains(block, "rotator restore") {
				s.paste("rotator rotate orders/db-password --config rotator.yaml\nkill $run; wait $run")
			}
			s.paste(block)
		}
		s.paste("echo after: && rotator status --config rotator.yaml\ntest \"$(get)\" = \"$before\"")
		out := s.run(s.home)
		_, after, ok := strings.Cut(out, "after:\n")
		if !ok || !strings.Contains(out, "streams are as of") || strings.Contains(after, "confirm-fleet") || !strings.Contains(after, "orders/db-password") {
			t.Errorf("the node is not restored, or its fleet is not confirmed:\n%s", out)
		}
	})
}

// shellBlocksOf returns the shell blocks below one heading of a page.
func shellBlocksOf(t *testing.T, doc, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", doc, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	path := filepath.Join(t.TempDir(), "section.md")
	if err := os.WriteFile(path, []byte(section), 0o600); err != nil {
		t.Fatal(err)
	}
	return shellBlocks(t, path)
}

// paste is a shell of a reader with a home of its own.
type paste struct {
	t      *testing.T
	home   string
	script strings.Builder
	ports  map[string]string
	env    []string
}

func newPaste(t *testing.T) *paste {
	t.Helper()
	return &paste{t: t, home: t.TempDir(), ports: map[string]string{}}
}

func (s *paste) file(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.home, name), []byte(s.onFreePorts(text)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

var (
	port = regexp.MustCompile(`\b(?:[468][02]\d\d|5432)\b`)
	// The programs have been built for the other tests.
	installed = regexp.MustCompile(`(?m)^go install((?: \./cmd/\w+)+)(.*)$`)
	// Two terminals of a page are one shell here.
	untilStopped = regexp.MustCompile(`(?m)^rotator run [^&\n]*$`)
)

// onFreePorts replaces the ports of a page, which other tests may use.
func (s *paste) onFreePorts(text string) string {
	return port.ReplaceAllStringFunc(text, func(p string) string {
		if s.ports[p] == "" {
			_, s.ports[p], _ = strings.Cut(freeAddress(s.t), ":")
		}
		return s.ports[p]
	})
}

// paste adds a block to what the reader pastes.
func (s *paste) paste(block string) {
	block = untilStopped.ReplaceAllString(block, "$0 >>run.log 2>&1 & run=$!\nuntil rotator status --config rotator.yaml >/dev/null 2>&1; do sleep 1; done")
	block = installed.ReplaceAllString(block, "go list$1 >/dev/null\nset --$2\ntest $# = 0 || go install \"$@\"")
	s.script.WriteString(s.onFreePorts(block) + "\n")
}

// run gives all of it to a shell in a directory, and returns what it prints.
func (s *paste) run(dir string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "sh", "-euc", s.script.String())
	bin := filepath.Join(s.home, "bin")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "PATH="+strings.Join([]string{bin, binaries(s.t), os.Getenv("PATH")}, string(os.PathListSeparator)))
	for _, name := range []string{"GOPATH", "GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY"} {
		value, err := exec.CommandContext(s.t.Context(), "go", "env", name).Output()
		if err != nil {
			s.t.Fatal(err)
		}
		cmd.Env = append(cmd.Env, name+"="+strings.TrimSpace(string(value)))
	}
	cmd.Env = append(append(cmd.Env, "HOME="+s.home), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p := &program{cmd: cmd, out: &output{}, done: make(chan struct{})}
	s.t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // fails if all of it has ended
	p.run(s.t)
	if code := p.wait(s.t); code != 0 {
		s.t.Fatalf("exit code %d", code)
	}
	return p.out.String()
}
