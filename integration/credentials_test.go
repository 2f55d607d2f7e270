//go:build !race

// The server reads its options without a lock while it answers direct gets, so they
// cannot be replaced in this process under the race detector.

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/client/setup/all"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// credentialsSite is a worker, a service in Go and one in Python that work on a secret
// of OpenBao, which rotates every few seconds, each with credentials in files.
type credentialsSite struct {
	t                *testing.T
	dir              string
	bao              *serverstest.Bao
	role             serverstest.Role
	server           *server.Server
	opts             *server.Options
	admin            *nats.Conn
	worker, notifier *program
	heard            chan secret.VersionID
	seen             []secret.VersionID
	golang           *setup.Client
	python           *pythonService
}

const credentialsSecret = "APP_KEY_ID"

func (s *credentialsSite) file(name string) string { return filepath.Join(s.dir, name) }

// replace renames a file over another one.
func (s *credentialsSite) replace(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(s.file("."+name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.file("."+name), s.file(name)); err != nil {
		s.t.Fatal(err)
	}
}

// login puts credentials of NATS into the files and returns what the server knows.
func (s *credentialsSite) login(password string) *server.Options {
	s.t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		s.t.Fatal(err)
	}
	seed, err := pair.Seed()
	if err != nil {
		s.t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		s.t.Fatal(err)
	}
	s.replace("password", password+"\n")
	s.replace("seed", string(seed)+"\n")
	o := s.opts.Clone()
	o.Users = []*server.User{{Username: "admin", Password: "admin"}, {Username: "rotator", Password: password}}
	o.Nkeys = []*server.NkeyUser{{Nkey: public}}
	return o
}

// signingKey makes a signing key, and trusts its public key.
func (s *credentialsSite) signingKey(name string) {
	s.t.Helper()
	k, err := events.GenerateSigner()
	if err == nil {
		err = k.Save(s.file(name))
	}
	if err == nil {
		err = os.Rename(s.file(name+".pub"), s.file("trusted/"+name+".pub"))
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *credentialsSite) secretID() string {
	s.t.Helper()
	var made struct {
		Data map[string]any `json:"data"`
	}
	s.bao.Do(s.t, http.MethodPost, "auth/approle/role/all/secret-id", nil, &made)
	return fmt.Sprint(made.Data["secret_id"])
}

func startCredentialsSite(t *testing.T) *credentialsSite {
	t.Helper()
	s := &credentialsSite{t: t, dir: t.TempDir(), bao: serverstest.StartBao(t)}
	if err := os.Mkdir(s.file("trusted"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.signingKey("first")
	s.role = s.bao.AppRole(t, "all", `path "*" { capabilities = ["create", "read", "update", "delete", "list", "patch"] }`, "1h")
	s.replace("secret-id", s.role.Secret+"\n")
	s.opts = &server.Options{ServerName: "test", Host: "127.0.0.1", Port: serverstest.FreePort(t), JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	var err error
	if s.server, err = server.NewServer(s.login("Pass-Word-1")); err != nil {
		t.Fatal(err)
	}
	s.server.Start()
	t.Cleanup(func() { s.server.Shutdown(); s.server.WaitForShutdown() })
	if !s.server.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server did not start")
	}
	if s.admin, err = nats.Connect(s.server.ClientURL(), nats.UserInfo("admin", "admin")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.admin.Close)
	s.heard = make(chan secret.VersionID, 1000)
	_, err = s.admin.Subscribe("secret.rotated.>", func(m *nats.Msg) {
		var d events.Data
		_ = json.Unmarshal(m.Data, &d) // a message that is none shows as a version without an id
		s.heard <- d.VersionID
	})
	if err := errors.Join(err, s.admin.Flush()); err != nil {
		t.Fatal(err)
	}
	s.start()
	return s
}

// start starts the programs.
func (s *credentialsSite) start() {
	t, url := s.t, s.server.ClientURL()
	t.Helper()
	health := freeAddress(t)
	vault := fmt.Sprintf("{method: approle, role_id: %q, secret_id: {file: %q}}", s.role.ID, s.file("secret-id"))
	s.replace("rotator.yaml", fmt.Sprintf(`nats: {url: %q, credentials: {user: rotator, password: {file: %q}}}
http: {listen: %q}
signing: {key: {file: %q}, trusted_keys: [%q]}
stores: {main: {type: vault, address: %q, auth: %s}}
secrets:
  - {id: %s, path: app/key, ttl: 3s, refresh_margin: 1s, create: true, services: [go, py]}
`, url, s.file("password"), health, s.file("first"), s.file("trusted"), s.bao.URL, vault, credentialsSecret))
	s.worker = start(t, "run", "--config", s.file("rotator.yaml"))
	ready(t, health)
	notifier := &program{cmd: exec.Command(binary(t, "notifier"), "run", "--config", s.file("rotator.yaml")), out: &output{}, done: make(chan struct{})}
	notifier.cmd.Env = append(os.Environ(), "ROTATOR_HTTP_LISTEN="+freeAddress(t))
	notifier.run(t)
	s.notifier = notifier
	waittest.Until(t, "the secret has a value", func() error {
		if len(s.announced()) == 0 {
			return fmt.Errorf("nothing is announced; the worker printed:\n%s", s.worker.out)
		}
		return nil
	})
	s.replace("service.yaml", fmt.Sprintf("service: go\nstore: vault\nsecrets: {%s: app/key}\nnats: {url: %q, credentials: {nkey_file: %q}}\ntrusted_keys: [%q]\nvault: {address: %q, auth: %s}\n",
		credentialsSecret, url, s.file("seed"), "worker,scheduler,notifier="+s.file("trusted"), s.bao.URL, vault))
	var err error
	s.golang, err = setup.Open(t.Context(), setup.Options{
		File: s.file("service.yaml"), IDs: []secret.ID{credentialsSecret}, Providers: all.Providers(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.golang.Close(t.Context()) })
	s.python = startPython(t, "py", map[string]string{
		"ROTATOR_STORE": "vault", "VAULT_ADDR": s.bao.URL, "VAULT_ROLE_ID": s.role.ID, "ROTATOR_VAULT_AUTH_SECRET_ID_FILE": s.file("secret-id"),
		"ROTATOR_NATS_URL": url, "ROTATOR_NATS_CREDENTIALS_USER": "rotator", "ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE": s.file("password"),
		"ROTATOR_TRUSTED_KEYS": "notifier=" + s.file("trusted"), credentialsSecret: "app/key",
	}, credentialsSecret)
}

// announced returns the versions that were announced.
func (s *credentialsSite) announced() []secret.VersionID {
	for len(s.heard) > 0 {
		s.seen = append(s.seen, <-s.heard)
	}
	return s.seen
}

// goesOn waits until two more versions are announced and both services took one.
func (s *credentialsSite) goesOn(after string) {
	s.t.Helper()
	took := func() int { return strings.Count(s.python.log.String(), "secret.rotated") }
	versions, before := len(s.announced()), took()
	want := versions + 2
	waittest.Until(s.t, "rotations go on after "+after, func() error {
		select {
		case <-s.worker.done:
			s.t.Fatalf("the worker has ended:\n%s", s.worker.out)
		case <-s.notifier.done:
			s.t.Fatalf("the notifier has ended:\n%s", s.notifier.out)
		default:
		}
		n, err := strconv.Atoi(string(s.golang.Secret(credentialsSecret).Get().Version.ID))
		if now := len(s.announced()); err != nil || now < want || n < want || took() == before {
			return fmt.Errorf("%d versions are announced, Go has %d (%w), want %d; Python took %d; it said:\n%s", now, n, err, want, took()-before, s.python.log.String())
		}
		return nil
	})
}

// TestOurOwnCredentialsRotate: each credential is replaced while a secret rotates every
// few seconds. Nothing is started again, and every version is announced once.
func TestOurOwnCredentialsRotate(t *testing.T) {
	t.Parallel()
	s := startCredentialsSite(t)
	s.goesOn("the start")

	if err := s.server.ReloadOptions(s.login("Pass-Word-2")); err != nil {
		t.Fatal(err)
	}
	s.goesOn("a new password and nkey")

	old := s.role.Secret
	s.replace("secret-id", s.secretID())
	s.bao.Do(t, http.MethodPost, "auth/approle/role/all/secret-id/destroy", map[string]any{"secret_id": old}, nil)
	s.bao.Revoke(t, "auth/approle/login")
	s.goesOn("a new secret id")

	s.signingKey("next")
	if err := os.Rename(s.file("next"), s.file("first")); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the worker signs with the new key", func() error {
		if !strings.Contains(s.worker.out.String(), "signing_key.replaced") {
			return fmt.Errorf("it printed:\n%s", s.worker.out)
		}
		return nil
	})
	s.goesOn("a new signing key")

	s.python.stop()
	for i, v := range s.announced() {
		if v != secret.VersionID(strconv.Itoa(i+1)) {
			t.Errorf("announcement %d is of version %s", i+1, v)
		}
	}
}
