package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

const (
	auditID = secret.ID("TRADEPULSE_AUDIT_SECRET_ID")
	adminID = secret.ID("TRADEPULSE_ADMIN_TOKEN_ID")
	// briefly is lease and fence: each rotation lasts that long. A lease is renewed
	// after each third, and confirms what a process accepts for one fence.
	briefly = 3 * time.Second
)

// loadRounds is how often each of the two secrets rotates.
var loadRounds = flag.Int("load.rounds", 8, "how often TestServicesUnderLoad rotates each of its two secrets")

// underLoad runs the example with the same lease and fence.
const underLoad = `
from datetime import timedelta
from functools import partial
from tradepulse_rotator import fastapi
fastapi.Secrets = partial(fastapi.Secrets, lease=timedelta(seconds=3), fence=timedelta(seconds=3))
from app import app
`

// TestServicesUnderLoad rotates the signing key and the token of a FastAPI
// service and of a Go service again and again while callers use both without
// pause: no request fails because of it, no process restarts, every rollout
// converges and retires what was before, and each service verifies what the
// other has signed.
func TestServicesUnderLoad(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"aws", "vault"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, startBroker(t, true), trader(auditID, "audit", secret.RetireKeep), trader(adminID, "admin", secret.RetireDelete))
			s.backend = services[kind](t)
			s.seed()
			nc := s.broker.connect()
			defer nc.Close()
			p := s.run("rotator", s.scheduler(time.Minute), s.worker(2), s.notifier())
			defer p.stop()
			python, golang := startFastAPI(t, s), startGoService(t, s, nc)
			load := startLoad(t, s.catalog(nc), python.url, golang.url)
			s.rotateBoth(nc, *loadRounds)
			load.stop(t)
			s.settled(nc)
			python.same(t)
			if text := python.program.out.String(); slices.ContainsFunc(load.tokens(), func(v string) bool { return strings.Contains(text, v) }) {
				t.Error("the output of the FastAPI service holds a token")
			}
			token, err := currentToken(t.Context(), s.catalog(nc))
			if err != nil {
				t.Fatal(err)
			}
			verifyEachOther(t, python, golang, load, token)
			python.leaves(t, s.bus(nc, "operator"))
		})
	}
}

// trader is a secret of both services, which accept the next version before
// any instance uses it.
func trader(id secret.ID, path string, retire secret.RetireMode) secret.Spec {
	return secret.Spec{
		ID: id, Store: "embedded", Path: "tradepulse/" + path, TTL: time.Hour, Grace: time.Second, Fence: briefly, Retire: retire,
		Services: []string{"tradepulse-api", "ledger"}, Rollout: secret.RolloutPrepare,
	}
}

// rotateBoth rotates every secret so often, each time when the rollout before is
// through.
func (s *site) rotateBoth(nc *nats.Conn, rounds int) {
	s.t.Helper()
	bus, c := s.bus(nc, "operator"), s.catalog(nc)
	var wg sync.WaitGroup
	for _, spec := range s.specs {
		wg.Go(func() {
			for range rounds {
				if err := rotateThrough(s.t.Context(), bus, c, spec); err != nil {
					s.t.Errorf("%s: %v", spec.ID, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// rotateThrough rotates a secret and waits until the version before is retired.
func rotateThrough(ctx context.Context, bus *events.Bus, c catalogued, spec secret.Spec) error {
	_, st, err := c.locate(spec.ID)
	if err != nil {
		return err
	}
	meta, err := st.Describe(ctx, spec.StorePath())
	if err != nil {
		return err
	}
	from := meta.Current().ID
	if err := bus.RotateNow(ctx, manual(spec, from)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		last, err := bus.Last(ctx, events.TypeRollout, spec.ID)
		if err != nil {
			return err
		}
		if d := last.Event.Data; d.Rollout != nil && d.VersionID != from && d.PreviousVersionID == from && d.Rollout.State == events.RolloutRetired {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not replaced and retired, the rollout is %+v: %w", from, last.Event.Data.Rollout, ctx.Err())
		case <-tick.C:
		}
	}
}

// settled holds the end of it: everybody runs what is current, and nothing is
// left of what was before.
func (s *site) settled(nc *nats.Conn) {
	s.t.Helper()
	bus, c := s.bus(nc, "operator"), s.catalog(nc)
	for _, spec := range s.specs {
		meta := describe(s.t, c, spec.ID)
		fleet, err := bus.Fleet(s.t.Context(), spec.ID)
		if err != nil {
			s.t.Fatal(err)
		}
		if is := (rollout.Question{Spec: spec, VersionID: meta.Current().ID}).Ask(fleet); len(is.Blocking) > 0 || is.Applied != 2 {
			s.t.Errorf("%s: %d instances run what is current, the others: %v", spec.ID, is.Applied, is.Blocking)
		}
		for _, v := range meta.Versions {
			if v.Stage == secret.StagePrevious || v.Stage == secret.StagePending {
				s.t.Errorf("%s: version %s is still %s", spec.ID, v.ID, v.Stage)
			}
		}
	}
}

// halting is a service whose administrative interface keeps an audit log.
type halting struct {
	url     string
	log     string   // path of the audit log
	program *program // nil for the one in this process
	keys    *client.Keyring
}

// startFastAPI runs the example under uvicorn, against the stores of a site.
func startFastAPI(t *testing.T, s *site) halting {
	t.Helper()
	dir, address := t.TempDir(), freeAddress(t)
	if err := s.signer.Save(filepath.Join(dir, "signing.key")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "underload.py"), underLoad)
	host, port, _ := strings.Cut(address, ":")
	h := halting{url: "http://" + address, log: filepath.Join(dir, "audit.jsonl")}
	h.program = &program{out: &output{}, done: make(chan struct{})}
	h.program.cmd = exec.Command(serverstest.Tool(t, "python"), "-m", "uvicorn", "--app-dir", dir, "--host", host, "--port", port, "--no-access-log", "underload:app")
	h.program.cmd.Env = append(os.Environ(),
		"PYTHONPATH=../clients/python/src:../examples/fastapi", "PYTHONDONTWRITEBYTECODE=1", "AUDIT_LOG="+h.log,
		"ROTATOR_NATS_URL="+s.broker.server.Load().ClientURL(), "ROTATOR_TRUSTED_KEYS="+filepath.Join(dir, "signing.key.pub"))
	for _, spec := range s.specs {
		h.program.cmd.Env = append(h.program.cmd.Env, string(spec.ID)+"="+spec.StorePath())
	}
	h.program.cmd.Env = append(h.program.cmd.Env, s.backend.environment()...)
	h.program.run(t)
	waittest.Until(t, "the service answers", func() error {
		select {
		case <-h.program.done:
			return fmt.Errorf("it has ended:\n%s", h.program.out)
		default:
			return get(t, h.url+"/healthz", nil)
		}
	})
	return h
}

// environment tells a program of another language where the secrets are.
func (s service) environment() []string {
	if s.Kind == "vault" {
		return []string{"ROTATOR_STORE=vault", "VAULT_ADDR=" + s.URL, "VAULT_TOKEN=" + s.Token}
	}
	return []string{
		"ROTATOR_STORE=aws", "AWS_ENDPOINT_URL=" + s.URL, "AWS_REGION=eu-central-1", "AWS_DEFAULT_REGION=eu-central-1",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
	}
}

// same fails unless the process that was started still answers.
func (h halting) same(t *testing.T) {
	t.Helper()
	var body string
	if err := get(t, h.url+"/healthz", &body); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`{"pid":%d}`, h.program.cmd.Process.Pid); body != want {
		t.Errorf("%s answers, started was %s", body, want)
	}
}

// leaves ends the process as its operator would, and fails unless it says on the
// bus that it is gone: its lease is longer than this test waits.
func (h halting) leaves(t *testing.T, bus *events.Bus) {
	t.Helper()
	h.program.drain(t)
	users, err := live(t.Context(), bus, auditID)
	if err != nil || slices.ContainsFunc(users, func(u events.User) bool { return u.Use.Service == "tradepulse-api" }) {
		t.Errorf("it has ended, and %d instances live: %v\n%s", len(users), err, h.program.out)
	}
}

// startGoService serves the same interface with pkg/client.
func startGoService(t *testing.T, s *site, nc *nats.Conn) halting {
	t.Helper()
	h := halting{log: filepath.Join(t.TempDir(), "audit.jsonl")}
	m, err := client.New(t.Context(), client.Config{
		Service: "ledger", Source: s.catalog(nc).source, IDs: []secret.ID{auditID, adminID}, CheckedAtUse: []secret.ID{auditID, adminID},
		Lease: briefly, Bus: s.bus(nc, "ledger"), Logger: s.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.WithoutCancel(t.Context())) }) // the broker may be gone by then
	if h.keys, err = client.NewKeyring(t.Context(), m, auditID, client.KeysVerifyHistory, 0); err != nil {
		t.Fatal(err)
	}
	auth, err := client.NewTokenAuthenticator(t.Context(), m, adminID, "ledger", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(h.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	audit, err := client.NewAuditLogger(t.Context(), m, h.keys, file)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := audit.Log("ledger.closed", map[string]string{"reason": "drill <&>"}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})))
	t.Cleanup(srv.Close)
	h.url = srv.URL
	return h
}

// load is callers that never stop.
type load struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	answered map[string]int // :: URL → requests with the answer 200
	failures []string
	values   map[string]bool // every token that was used
}

// pace is the pause between two requests of a caller.
const pace = 10 * time.Millisecond

// startLoad calls each service from two sides: one caller takes the current
// token for each request, the other keeps one for a second, past the rotation.
func startLoad(t *testing.T, c catalogued, urls ...string) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, answered: map[string]int{}, values: map[string]bool{}}
	for _, url := range urls {
		for _, keep := range []time.Duration{0, time.Second} {
			l.wg.Go(func() { l.caller(ctx, c, url, keep) })
		}
	}
	return l
}

func (l *load) caller(ctx context.Context, c catalogued, url string, keep time.Duration) {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	var token string
	var taken time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if time.Since(taken) >= keep {
			fresh, err := currentToken(context.WithoutCancel(ctx), c)
			switch {
			case err == nil:
				token, taken = fresh, time.Now()
			case token == "" || !errors.Is(err, store.ErrNotFound):
				l.note(url, "the token cannot be had: "+err.Error())
				continue
			} // moto moves a label in two steps; a caller goes on with what it has
		}
		l.note(url, l.request(context.WithoutCancel(ctx), url, token))
	}
}

func currentToken(ctx context.Context, c catalogued) (string, error) {
	spec, st, err := c.locate(adminID)
	if err != nil {
		return "", err
	}
	_, v, err := st.Get(ctx, spec.StorePath(), store.Selector{})
	return string(v.Reveal()), err
}

// request calls once and returns what is wrong with the answer.
func (l *load) request(ctx context.Context, url, token string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	l.mu.Lock()
	l.values[token] = true
	l.mu.Unlock()
	status, body, err := post(ctx, url+"/admin/halt", token, "application/json", strings.NewReader(`{"symbol": "ACME", "reason": "drill"}`))
	switch {
	case err != nil:
		return err.Error()
	case status != http.StatusOK:
		return strconv.Itoa(status) + " " + body
	default:
		return ""
	}
}

func (l *load) note(url, failure string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if failure != "" {
		l.failures = append(l.failures, url+": "+failure)
		return
	}
	l.answered[url]++
}

// stop ends the callers and fails for every request that failed.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.cancel()
	l.wg.Wait()
	for _, f := range l.failures[:min(len(l.failures), 10)] {
		t.Error(f)
	}
	if len(l.failures) > 0 {
		t.Errorf("%d requests failed", len(l.failures))
	}
	if len(l.values) < *loadRounds {
		t.Errorf("%d tokens were used in %d rotations", len(l.values), *loadRounds)
	}
}

func (l *load) tokens() []string {
	out := make([]string, 0, len(l.values))
	for v := range l.values {
		out = append(out, v)
	}
	return out
}

func post(ctx context.Context, url, token, kind string, body io.Reader) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// keyChanges counts the records by which a new key takes an audit log over.
func keyChanges(log []byte) int {
	return bytes.Count(log, []byte(`"event":"`+client.EventKeyRotated+`"`))
}

// verifyEachOther lets Go verify what Python has signed, and the reverse: every
// answered request has its record beside those of the changes of the key, and a
// record that was changed shows.
func verifyEachOther(t *testing.T, python, golang halting, l *load, token string) {
	t.Helper()
	pythons, err := os.ReadFile(python.log)
	if err != nil {
		t.Fatal(err)
	}
	n, last, err := client.VerifyAudit(bytes.NewReader(pythons), golang.keys.Lookup(t.Context()))
	if err != nil || n-keyChanges(pythons) != l.answered[python.url] {
		t.Errorf("%d records of the FastAPI service verify, %d requests were answered: %v", n, l.answered[python.url], err)
	}
	var first client.AuditRecord
	if line, _, _ := bytes.Cut(pythons, []byte("\n")); json.Unmarshal(line, &first) != nil || first.KeyID == last.KeyID {
		t.Errorf("the first and the last of them are signed with %q", first.KeyID)
	}
	bad := bytes.Replace(pythons, []byte("drill"), []byte("drull"), 1)
	if n, _, err := client.VerifyAudit(bytes.NewReader(bad), golang.keys.Lookup(t.Context())); err == nil || n != 0 {
		t.Errorf("a changed record verifies: %d records, %v", n, err)
	}
	gos, err := os.ReadFile(golang.log)
	if err != nil {
		t.Fatal(err)
	}
	for want, log := range map[string][]byte{
		fmt.Sprintf(`200 {"records":%d}`, l.answered[golang.url]+keyChanges(gos)): gos,
		`422 {"detail":"audit: line 1: its MAC does not fit: it was changed"}`:    bytes.Replace(gos, []byte("drill"), []byte("drull"), 1),
	} {
		status, body, err := post(t.Context(), python.url+"/admin/audit/verify", token, "application/jsonl", bytes.NewReader(log))
		if got := fmt.Sprintf("%d %s", status, body); err != nil || got != want {
			t.Errorf("the FastAPI service says %q of the Go service's log, want %q: %v", got, want, err)
		}
	}
}
