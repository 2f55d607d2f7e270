package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	shipped "github.com/tradepulse/rotator/deployments/nats"
	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestEveryVerbOfTheOperator: each command that connects does its work as the NATS user
// operator, with the accounts that 'rotator nats accounts' prints and with those in
// deployments/nats, and is denied nothing; nor are the programs beside it.
func TestEveryVerbOfTheOperator(t *testing.T) {
	t.Parallel()
	t.Run("printed", func(t *testing.T) {
		t.Parallel()
		runVerbs(t, "prod", func(c *cell) string {
			out, errs, code := piped(t, "", "nats", "accounts", "--config", c.cfg, "--keys", c.dir)
			if code != 0 {
				t.Fatalf("nats accounts: exit %d: %s", code, errs)
			}
			return out
		}, "rotator", "notifier")
	})
	t.Run("shipped", func(t *testing.T) {
		t.Parallel()
		runVerbs(t, "", func(c *cell) string {
			return regexp.MustCompile(`\$NATS_([A-Z_]+)_NKEY`).ReplaceAllStringFunc(shipped.Accounts, func(v string) string {
				user := strings.TrimSuffix(strings.TrimPrefix(v, "$NATS_"), "_NKEY")
				return c.newUser(strings.ToLower(strings.ReplaceAll(user, "_", "-")))
			})
		}, "scheduler", "worker", "notifier")
	})
}

// cell is a cluster of one server whose users have their own rights only.
type cell struct {
	t           *testing.T
	dir, cfg    string
	prefix, url string
	denied      violations
	ran         map[string]bool // :: command → whether it has run
	programs    []*program
}

// violations collects what the server refuses.
type violations struct {
	mu    sync.Mutex
	lines []string
}

func (v *violations) Noticef(string, ...any) {}
func (v *violations) Warnf(string, ...any)   {}
func (v *violations) Fatalf(string, ...any)  {}
func (v *violations) Debugf(string, ...any)  {}
func (v *violations) Tracef(string, ...any)  {}
func (v *violations) Errorf(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); strings.Contains(line, "iolation") {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.lines = append(v.lines, line)
	}
}

// check fails the test for what was refused since the last call.
func (v *violations) check(t *testing.T, what string) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, line := range v.lines {
		t.Errorf("%s: %s", what, line)
	}
	v.lines = nil
}

const verbSecrets = `secrets:
  - {id: V_LIVE, services: [audit-api]}
  - {id: V_TWO}
  - {id: V_MINE, create: false}
  - {id: V_ERP, consumers: [{name: erp, confirm: manual}]}
`

// runVerbs starts a server with accounts, the programs as their users, and runs every
// command.
func runVerbs(t *testing.T, prefix string, conf func(*cell) string, programs ...string) {
	t.Helper()
	c := &cell{t: t, dir: t.TempDir(), prefix: prefix, ran: map[string]bool{}}
	c.cfg = filepath.Join(c.dir, "cell.yaml")
	port := serverstest.FreePort(t)
	c.url = fmt.Sprintf("nats://127.0.0.1:%d", port)
	for _, args := range [][]string{{"signing", "signing.key"}, {"master", "master.key"}} {
		if _, errs, code := piped(t, "", "keys", "new", args[0], filepath.Join(c.dir, args[1])); code != 0 {
			t.Fatal(errs)
		}
	}
	c.write(verbSecrets + "  - {id: V_GONE}\n")
	admin := c.newUser("admin") // may do anything: it makes what the doctor deletes
	c.serve(port, strings.Replace(conf(c), "users: [\n", "users: [\n{nkey: "+admin+"}\n", 1))
	for _, user := range programs {
		c.program(user)
	}
	c.ready()
	c.verbs()
	for _, p := range c.programs {
		if strings.Contains(p.out.String(), "iolation") {
			t.Errorf("a program was denied something:\n%s", p.out)
		}
		p.drain(t)
	}
	c.denied.check(t, "a program")
	c.complete()
}

// write writes the configuration with secrets.
func (c *cell) write(secrets string) {
	c.t.Helper()
	text := fmt.Sprintf(`nats: {url: %q, prefix: %q, credentials: {nkey_file: %q}}
signing: {key: {file: %q}, trusted_keys: [%q]}
log: {format: json}
stores: {main: {type: natskv, master_key: {file: %q}}}
defaults: {ttl: 30d, create: true, no_subscribers: retire-after-grace, grace: 1s, fence: 1s}
`, c.url, c.prefix, filepath.Join(c.dir, "operator.nk"), filepath.Join(c.dir, "signing.key"), filepath.Join(c.dir, "signing.key.pub"), filepath.Join(c.dir, "master.key"))
	if err := os.WriteFile(c.cfg, []byte(text+secrets), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// newUser makes the seed of a user, and returns its public key.
func (c *cell) newUser(user string) string {
	c.t.Helper()
	if _, errs, code := piped(c.t, "", "keys", "new", "nkey", filepath.Join(c.dir, user+".nk")); code != 0 {
		c.t.Fatal(errs)
	}
	public, err := c.key(user).PublicKey()
	if err != nil {
		c.t.Fatal(err)
	}
	return public
}

func (c *cell) key(user string) nkeys.KeyPair {
	c.t.Helper()
	seed, err := os.ReadFile(filepath.Join(c.dir, user+".nk"))
	if err != nil {
		c.t.Fatal(err)
	}
	pair, err := nkeys.FromSeed([]byte(strings.TrimSpace(string(seed))))
	if err != nil {
		c.t.Fatal(err)
	}
	return pair
}

func (c *cell) serve(port int, accounts string) {
	c.t.Helper()
	path := filepath.Join(c.dir, "accounts.conf")
	if err := os.WriteFile(path, []byte(accounts), 0o600); err != nil {
		c.t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog, opts.JetStream, opts.StoreDir = "127.0.0.1", port, true, true, true, c.t.TempDir()
	s, err := server.NewServer(opts)
	if err != nil {
		c.t.Fatal(err)
	}
	s.SetLoggerV2(&c.denied, false, false, false)
	s.Start()
	c.t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		c.t.Fatal("nats-server did not start")
	}
}

// program starts a program as its user.
func (c *cell) program(user string) {
	c.t.Helper()
	health := freeAddress(c.t)
	env := []string{"ROTATOR_NATS_CREDENTIALS_NKEY_FILE=" + filepath.Join(c.dir, user+".nk"), "ROTATOR_HTTP_LISTEN=" + health, "ROTATOR_HTTP_NOTIFIER_LISTEN=" + health}
	args := []string{"run", "--config", c.cfg}
	if user == "scheduler" || user == "worker" {
		args = append(args, "--roles", user)
	}
	p := c.start(user, env, args)
	c.programs = append(c.programs, p)
	waittest.Until(c.t, user+" is ready", func() error { return get(c.t, "http://"+health+"/readyz", nil) })
}

func (c *cell) start(user string, env, args []string) *program {
	c.t.Helper()
	if user != "notifier" {
		return startWith(c.t, env, args...)
	}
	p := &program{cmd: exec.Command(binary(c.t, "notifier"), args...), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.run(c.t)
	return p
}

// ready waits until every secret that is made has its first version.
func (c *cell) ready() {
	c.t.Helper()
	for _, id := range []string{"V_LIVE", "V_TWO", "V_ERP", "V_GONE"} {
		waittest.Until(c.t, id+" has a version", func() error {
			if out, errs, code := piped(c.t, "", "get", id, "--config", c.cfg); code != 0 || out == "" {
				return errors.New(errs)
			}
			return nil
		})
	}
	c.denied.check(c.t, "the start")
}

// instance records an instance of the service, from its own account, that is silent soon.
func (c *cell) instance(id secret.ID, v secret.VersionID) {
	c.t.Helper()
	key := c.key("audit-api")
	public, err := key.PublicKey()
	if err != nil {
		c.t.Fatal(err)
	}
	nc, err := events.Connect(c.t.Context(), events.ConnectConfig{URL: c.url, Name: "audit-api", NKey: public, Sign: key.Sign, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.t.Fatal(err)
	}
	defer nc.Close()
	signer, err := events.LoadSigner(filepath.Join(c.dir, "signing.key"))
	if err != nil {
		c.t.Fatal(err)
	}
	names, err := events.NewNames(c.prefix)
	if err != nil {
		c.t.Fatal(err)
	}
	bus, err := events.New(nc, events.Config{Verifier: events.NewVerifier(signer.Public()), APIPrefix: apiPrefix, Names: names})
	if err != nil {
		c.t.Fatal(err)
	}
	now := time.Now()
	p := events.Presence{Service: "audit-api", Instance: "one", Incarnation: "inc-1", StartedAt: now, At: now, Lease: 1}
	if _, err := bus.Join(context.WithoutCancel(c.t.Context()), p); err != nil {
		c.t.Fatal(err)
	}
	u := events.Use{
		Running: events.Running{SecretID: id, VersionID: v, Status: events.StatusApplied}, Accepts: []secret.VersionID{}, Service: "audit-api", Instance: "one", Incarnation: "inc-1",
		Fence: 60, Joined: true, PastFence: events.PastFenceServe,
	}
	if err := bus.WriteUse(c.t.Context(), u); err != nil {
		c.t.Fatal(err)
	}
}
