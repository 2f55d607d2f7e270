package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

const upgraded = secret.ID("UPGRADED")

// previous are the programs and packages of the version before this one.
type previous struct {
	program string // see tools/previous
	python  string // the folder of its Python package
}

// buildPrevious builds the version before this one, which its module has as a folder.
func buildPrevious(t *testing.T) previous {
	t.Helper()
	const dir = "../tools/previous"
	folder, err := filepath.Abs(filepath.Join(dir, "proxy"))
	if err != nil {
		t.Fatal(err)
	}
	command := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		out, err := exec.CommandContext(t.Context(), "go", "env", "GOPROXY").Output()
		if err == nil {
			cmd.Env = append(os.Environ(), "GOPROXY=file://"+filepath.ToSlash(folder)+","+strings.TrimSpace(string(out)), "GONOSUMDB=github.com/tradepulse/rotator")
			out, err = cmd.Output()
		}
		if err != nil {
			t.Fatalf("go %s in tools/previous: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out))
	}
	p := previous{program: filepath.Join(t.TempDir(), "previous")}
	command("build", "-o", p.program, ".")
	p.python = filepath.Join(command("list", "-m", "-f", "{{.Dir}}", "github.com/tradepulse/rotator"), "clients", "python", "src")
	return p
}

// mixed is a deployment of which one part is of the version before.
type mixed struct {
	*silentSite
	previous previous
}

func newMixed(t *testing.T, backend service) *mixed {
	t.Helper()
	spec := secret.Spec{ID: upgraded, Store: "embedded", TTL: time.Hour, Grace: time.Second, Fence: time.Second, Services: []string{"api"}}
	s := newSite(t, startBroker(t, true), spec)
	s.backend = backend
	s.seed()
	m := &mixed{silentSite: &silentSite{site: s, t: t, nc: s.broker.connect()}, previous: buildPrevious(t)}
	t.Cleanup(m.nc.Close)
	m.ops, m.c = s.bus(m.nc, "ops"), s.catalog(m.nc)
	return m
}

// server runs what this version has on the side of the servers.
func (m *mixed) server(notifier bool) {
	roles := []func(context.Context, *nats.Conn) error{m.scheduler(time.Minute), m.worker(2)}
	if notifier {
		roles = append(roles, m.notifier())
	}
	m.t.Cleanup(m.run("rotator", roles...).stop)
}

// older starts a program of the version before: a service, or a notifier without a
// name.
func (m *mixed) older(service string) *program {
	m.t.Helper()
	order, err := json.Marshal(map[string]any{
		"Service": service, "Instance": "older", "URL": m.broker.server.Load().ClientURL(), "Master": m.master, "Signer": m.keys.seed,
		"Secrets": []map[string]any{{"ID": upgraded, "TTL": time.Hour, "Services": []string{"api"}}},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	p := &program{cmd: exec.Command(m.previous.program), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "ROTATOR_PREVIOUS="+string(order))
	p.run(m.t)
	return p
}

// newer starts a service of this version.
func (m *mixed) newer(t *testing.T) *client.Manager {
	t.Helper()
	c, err := client.New(t.Context(), client.Config{
		Service: "api", Instance: "newer", Source: m.c.source, IDs: []secret.ID{upgraded}, Bus: m.bus(m.nc, "newer"), Lease: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// held waits until all that keeps the older version is the client of the named
// instance, which has to be upgraded, and fails unless that version has its value.
func (m *mixed) held(instance string, v secret.VersionID) {
	m.t.Helper()
	spec, st, err := m.c.locate(upgraded)
	if err != nil {
		m.t.Fatal(err)
	}
	waittest.Until(m.t, "only the older client holds the version before", func() error {
		f, err := m.ops.Fleet(m.t.Context(), upgraded)
		if err != nil {
			return err
		}
		is := rollout.Question{Spec: spec, VersionID: m.current(upgraded).ID, Unstaged: true}.Ask(f)
		if len(is.Blocking) > 0 || len(is.Accepting) != 1 || is.Accepting[0].Instance != instance || !strings.Contains(is.Accepting[0].Detail, "upgrade the client of api") {
			return fmt.Errorf("it is held back by %v, and accepted by %v", is.Blocking, is.Accepting)
		}
		return nil
	})
	m.reaches(upgraded, events.RolloutDraining)
	if _, _, err := st.Get(m.t.Context(), spec.StorePath(), store.Selector{Version: v}); err != nil {
		m.t.Errorf("a version that an older client may accept is gone: %v", err)
	}
}

// retired upgrades the service: an instance of this version takes the place of the
// older one, which a person has forgotten. Then the version before is retired.
func (m *mixed) retired(t *testing.T, instance string) {
	t.Helper()
	c := m.newer(t)
	defer c.Close(t.Context())
	incarnation := events.OlderIncarnation(instance)
	waittest.Until(t, "the older instance is forgotten", func() error {
		f, err := m.ops.Instance(t.Context(), "api", instance, incarnation)
		if err == nil {
			err = m.ops.Forget(t.Context(), "api", instance, incarnation, []secret.ID{upgraded}, f.Seq)
		}
		if err != nil {
			return err
		}
		f, err = m.ops.Fleet(t.Context(), upgraded) // has its last report until that runs out
		if err == nil && slices.ContainsFunc(f.Users, func(u events.User) bool { return u.Use.Instance == instance }) {
			err = errors.New("it is on record")
		}
		return err
	})
	err := m.ops.RecordForgotten(t.Context(), events.Forgotten{
		Service: "api", Instance: instance, Incarnation: incarnation, By: "ops", Reason: "it was upgraded", At: time.Now(), Done: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	m.reaches(upgraded, events.RolloutRetired)
}

// TestAnOlderClientUnderThisVersion: it takes the new value, and holds the version
// before until it is upgraded, because it does not say what it accepts.
func TestAnOlderClientUnderThisVersion(t *testing.T) {
	t.Parallel()
	t.Run("Go", func(t *testing.T) {
		t.Parallel()
		m := newMixed(t, service{})
		m.server(true)
		p := m.older("api")
		m.takes(t, "older")
		p.drain(t) // its report runs out: a header that removes it is refused
		m.retired(t, "older")
	})
	t.Run("Python", func(t *testing.T) {
		t.Parallel()
		m := newMixed(t, services["vault"](t))
		m.server(true)
		key := filepath.Join(t.TempDir(), "signing.key")
		if err := m.signer.Save(key); err != nil {
			t.Fatal(err)
		}
		p := startPython(t, "api", map[string]string{
			"PYTHONPATH": m.previous.python, "ROTATOR_STORE": "vault", "VAULT_ADDR": m.backend.URL, "VAULT_TOKEN": m.backend.Token, string(upgraded): string(upgraded),
			"ROTATOR_NATS_URL": m.broker.server.Load().ClientURL(), "ROTATOR_TRUSTED_KEYS": key + ".pub",
		}, upgraded)
		m.takes(t, pythonInstance)
		p.stop()
		m.retired(t, pythonInstance)
	})
}

// takes rotates the secret that an older client uses.
func (m *mixed) takes(t *testing.T, instance string) {
	t.Helper()
	waittest.Until(t, "the older client reports", func() error { return onlyLive(t.Context(), m.ops, upgraded, instance) })
	before := m.current(upgraded).ID
	m.rotate(upgraded)
	m.held(instance, before)
}

// TestThisClientUnderAnOlderNotifier: a service takes the new value from the
// announcement of a notifier that does not know its records. Nothing is retired
// before the notifier is upgraded.
func TestThisClientUnderAnOlderNotifier(t *testing.T) {
	t.Parallel()
	m := newMixed(t, service{})
	m.server(false)
	old := m.older("")
	c := m.newer(t)
	defer c.Close(t.Context())
	before := m.current(upgraded).ID
	m.rotate(upgraded)
	waittest.Until(t, "the service uses the new version", func() error {
		cur, err := c.Get(t.Context(), upgraded)
		if err == nil && cur.Version.ID == before {
			err = errors.New("it uses the one before")
		}
		return err
	})
	spec, st, err := m.c.locate(upgraded)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := st.Get(t.Context(), spec.StorePath(), store.Selector{Version: before}); err != nil {
		t.Errorf("an older notifier had the version before retired: %v", err)
	}
	if code := old.drain(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	t.Cleanup(m.run("notifier", m.notifier()).stop)
	m.reaches(upgraded, events.RolloutRetired)
}
