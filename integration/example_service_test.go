package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/client/setup/vault"
	"github.com/tradepulse/rotator/pkg/secret"
)

// exampleRotations is how often each secret of the example is rotated.
const exampleRotations = 4

// TestTheExampleService runs examples/service and rotator on OpenBao, as their
// users do, with a client that calls the service all the time while both of its
// secrets are rotated: no request fails, nothing is restarted, and every audit
// record is genuine.
func TestTheExampleService(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "service")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../examples/service").CombinedOutput(); err != nil {
		t.Fatalf("build the service: %v\n%s", err, out)
	}
	b := serverstest.StartBao(t)
	newExample(t, binary, fmt.Sprintf("{type: vault, address: %q}", b.URL), map[string]string{
		"VAULT_TOKEN": b.Root, "ROTATOR_STORE": "vault", "ROTATOR_VAULT_ADDRESS": b.URL,
	}).run()
}

// example is a service, what rotates its secrets, and what calls it.
type example struct {
	t                *testing.T
	config, dir, log string
	env              map[string]string // of the service and its client
	binary, url      string
	service          *program
	requests, failed atomic.Int64
}

func newExample(t *testing.T, binary, kept string, env map[string]string) *example {
	t.Helper()
	l := &example{t: t, dir: t.TempDir(), env: env, binary: binary}
	l.config, l.log = filepath.Join(l.dir, "rotator.yaml"), filepath.Join(l.dir, "audit.log")
	listen, health := freeAddress(t), freeAddress(t)
	text := fmt.Sprintf(`node: {data_dir: %q, listen: %q}
http: {listen: %q}
log: {format: json}
stores: {main: %s}
defaults: {create: true, services: [tradepulse-api], rollout: prepare-then-activate, ttl: 30d, grace: 1s, fence: 1s}
secrets:
  - {id: %s, path: tradepulse/audit-key, retire: keep}
  - {id: %s, path: tradepulse/admin-token, services: [tradepulse-api, operator-cli]}
`, filepath.Join(l.dir, "data"), listen, health, kept, auditID, adminID)
	writeFile(t, l.config, text)
	node := startWith(t, l.credentials(), "run", "--config", l.config)
	ready(t, health)
	waittest.Until(t, "both secrets have a value", func() error {
		if n := strings.Count(node.out.String(), `"msg":"secret.rotated"`); n < 2 {
			return fmt.Errorf("%d of 2 secrets were made:\n%s", n, node.out)
		}
		return nil
	})
	l.env["ROTATOR_NATS_URL"] = "nats://" + listen
	l.env["ROTATOR_NATS_CREDENTIALS_NKEY_FILE"] = filepath.Join(l.dir, "data", "operator.nk")
	l.env["ROTATOR_TRUSTED_KEYS"] = filepath.Join(l.dir, "data", "signing.key.pub")
	l.env[string(auditID)], l.env[string(adminID)] = "tradepulse/audit-key", "tradepulse/admin-token"
	l.start()
	return l
}

// environ returns the environment of the service.
func (l *example) environ() []string {
	var out []string
	for k, v := range l.env {
		out = append(out, k+"="+v)
	}
	return out
}

// credentials returns that of rotator: what opens the store.
func (l *example) credentials() []string {
	return slices.DeleteFunc(l.environ(), func(kv string) bool { return !strings.HasPrefix(kv, "AWS_") && !strings.HasPrefix(kv, "VAULT_") })
}

var listening = regexp.MustCompile(`address=(\S+)`)

// start starts the service and waits until it listens.
func (l *example) start() {
	l.t.Helper()
	l.service = &program{cmd: exec.Command(l.binary), out: &output{}, done: make(chan struct{})}
	l.service.cmd.Env = append(append(os.Environ(), l.environ()...), "AUDIT_LOG="+l.log, "LISTEN=127.0.0.1:0")
	l.service.run(l.t)
	waittest.Until(l.t, "the service listens", func() error {
		m := listening.FindStringSubmatch(l.service.out.String())
		if m == nil {
			return fmt.Errorf("the service does not listen:\n%s", l.service.out)
		}
		l.url = "http://" + m[1]
		return nil
	})
}

func (l *example) run() {
	l.t.Helper()
	token := l.client()
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	var callers, rotations sync.WaitGroup
	for range 4 {
		callers.Go(func() { l.call(ctx, token) })
	}
	for _, id := range []secret.ID{auditID, adminID} {
		rotations.Go(func() { l.rotate(id) })
	}
	rotations.Wait()
	cancel()
	callers.Wait()
	select {
	case <-l.service.done:
		l.t.Fatalf("the service has ended:\n%s", l.service.out)
	default:
	}
	if code := l.service.drain(l.t); code != 0 {
		l.t.Errorf("the service ends with %d:\n%s", code, l.service.out)
	}
	l.t.Logf("%d requests during %d rotations", l.requests.Load(), 2*exampleRotations)
	if l.failed.Load() > 0 || l.requests.Load() < 100 {
		l.t.Errorf("%d of %d requests failed:\n%s", l.failed.Load(), l.requests.Load(), l.service.out)
	}
	l.verify()
}

// client returns the token as another process holds it that calls the service.
func (l *example) client() *client.Handle {
	l.t.Helper()
	c, err := setup.Open(l.t.Context(), setup.Options{
		Service: "operator-cli", IDs: []secret.ID{adminID}, Providers: []setup.Provider{vault.Provider()},
		Lookup: func(name string) (string, bool) { v, ok := l.env[name]; return v, ok }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			l.t.Errorf("close: %v", err)
		}
	})
	return c.Secret(adminID)
}

// call makes requests with the token that is current at that moment, until ctx
// ends.
func (l *example) call(ctx context.Context, token *client.Handle) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for ; ctx.Err() == nil; <-tick.C {
		req, err := http.NewRequestWithContext(l.t.Context(), http.MethodGet, l.url+"/orders", http.NoBody)
		if err != nil {
			l.t.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+string(token.Get().Value.Reveal()))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			l.t.Errorf("request: %v", err)
			return
		}
		if l.requests.Add(1); resp.StatusCode != http.StatusOK {
			l.failed.Add(1)
		}
		_ = resp.Body.Close()
	}
}

// rotate asks for one rotation after the other, as an operator does.
func (l *example) rotate(id secret.ID) {
	for i := range exampleRotations {
		p := startWith(l.t, l.credentials(), "rotate", string(id), "--config", l.config, "--timeout", "2m", "--again")
		<-p.done
		if code := p.cmd.ProcessState.ExitCode(); code != 0 {
			l.t.Errorf("rotation %d of %s: exit %d: %s", i+1, id, code, p.out)
			return
		}
	}
}

// verify checks the audit log as an operator does: one record for each request and
// for each change of the key, signed with every version of the key that there was.
func (l *example) verify() {
	l.t.Helper()
	p := startWith(l.t, l.credentials(), "audit", "verify", l.log, "--config", l.config)
	code := p.wait(l.t)
	log := readFile(l.t, l.log)
	if want := fmt.Sprintf("ok, %d records", int(l.requests.Load())+keyChanges([]byte(log))); code != 0 || !strings.Contains(p.out.String(), want) {
		l.t.Errorf("want %s:\n%s", want, p.out)
	}
	keys := map[secret.VersionID]bool{}
	for line := range strings.Lines(log) {
		var r client.AuditRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			l.t.Fatal(err)
		}
		keys[r.KeyID] = true
	}
	if len(keys) != exampleRotations+1 {
		l.t.Errorf("records are signed with %d versions of the key, want %d", len(keys), exampleRotations+1)
	}
}
