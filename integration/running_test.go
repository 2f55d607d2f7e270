package integration

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// edit replaces text in a file.
func edit(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheFileIsLoadedWhileANodeRuns: SIGHUP and reload take over what has changed and
// say it by name, a file that is wrong changes nothing, and status says what differs
// from the file.
func TestTheFileIsLoadedWhileANodeRuns(t *testing.T) {
	t.Parallel()
	path, health := singleNode(t, "  - {id: STAYS, create: true, ttl: 1h, refresh_margin: 5m}\n  - {id: GOES, create: true, ttl: 1h}\n")
	node := start(t, "run", "--config", path)
	ready(t, health)
	rotated(t, node, 2)

	edit(t, path, "  - {id: GOES, create: true, ttl: 1h}\n", "  - {id: COMES, create: true, ttl: 2h}\n")
	edit(t, path, "refresh_margin: 5m", "refresh_margin: 10m")
	out, _ := rotator(t, "status", "--config", path)
	shows(t, out, "runs another configuration than", "added COMES; removed GOES; changed STAYS (refresh_margin)", "'rotator reload' loads it")
	out, code := rotator(t, "reload", "--config", path)
	shows(t, out, "added COMES; removed GOES; changed STAYS (refresh_margin)")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	rotated(t, node, 3)
	shows(t, node.out.String(), `"msg":"config.secret_added","secret_id":"COMES"`, `"msg":"config.secret_removed","secret_id":"GOES"`, `"fields":["refresh_margin"]`)
	out, code = rotator(t, "status", "--config", path)
	shows(t, out, "GOES", "the configuration lists it no longer")
	if code != 0 || strings.Contains(out, "another configuration") {
		t.Errorf("exit code %d\n%s", code, out)
	}

	edit(t, path, "ttl: 2h", "ttl: soon")
	hangUp(t, node)
	waittest.Until(t, "the file is rejected", printed(node, `"msg":"config.rejected"`))
	edit(t, path, "ttl: soon", "ttl: 3h")
	edit(t, path, "format: json", "format: text")
	hangUp(t, node)
	waittest.Until(t, "the file is loaded", printed(node, `"msg":"config.restart_needed","settings":["log.format"]`))
	out, _ = rotator(t, "status", "--config", path)
	shows(t, out, "a restart is needed for log.format")
	if code := node.drain(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	again := start(t, "run", "--config", path)
	ready(t, health)
	watch := start(t, "status", "--watch", "--config", path)
	for _, verb := range [][]string{{"status"}, {"plan"}, {"get", "GOES"}} {
		out, code = rotator(t, append(verb, "--config", path)...)
		if code != 0 || verb[0] != "get" && !hasLine(out, "GOES", "the configuration lists it no longer") {
			t.Errorf("after a restart, %q: exit %d\n%s", verb, code, out)
		}
	}
	edit(t, path, "ttl: 3h", "ttl: 4h")
	waittest.Until(t, "status --watch says that the file has changed", printed(watch, "changed COMES (ttl)"))
	waittest.Until(t, "and shows the secret that went", printed(watch, "GOES"))
	if n := strings.Count(watch.out.String(), "changed COMES (ttl)"); n != 1 {
		t.Errorf("status --watch warns %d times", n)
	}
	if out, code := rotator(t, "delete", "GOES", "--yes", "--config", path); code != 0 {
		t.Errorf("delete: exit %d\n%s", code, out)
	}
	if out, _ := rotator(t, "status", "--config", path); strings.Contains(out, "GOES") {
		t.Errorf("after it was deleted, status shows it:\n%s", out)
	}
	watch.drain(t)
	again.drain(t)
}

func hangUp(t *testing.T, p *program) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func shows(t *testing.T, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(out, text) {
			t.Errorf("no %q in:\n%s", text, out)
		}
	}
}

// printed returns nil once the program has printed a text.
func printed(p *program, text string) func() error {
	return func() error {
		if !strings.Contains(p.out.String(), text) {
			return os.ErrNotExist
		}
		return nil
	}
}
