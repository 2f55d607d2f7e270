package setup_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/client/setup/all"
	"github.com/tradepulse/rotator/pkg/client/setup/vault"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
	"github.com/tradepulse/rotator/pkg/store/natskv"
	vaultdriver "github.com/tradepulse/rotator/pkg/store/vault"
)

const (
	audit = secret.ID("TRADEPULSE_AUDIT_SECRET_ID")
	admin = secret.ID("TRADEPULSE_ADMIN_TOKEN_ID")
)

var quiet = slog.New(slog.DiscardHandler)

func options(vars map[string]string) setup.Options {
	return setup.Options{
		Service: "audit-api", IDs: []secret.ID{audit, admin}, Providers: all.Providers(), Logger: quiet,
		Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	}
}

// open opens and reads both secrets.
func open(t *testing.T, o setup.Options) (*setup.Client, string) {
	t.Helper()
	c, err := setup.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c, read(c, audit) + " " + read(c, admin)
}

func read(c *setup.Client, id secret.ID) string { return string(c.Secret(id).Get().Value.Reveal()) }

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("it never happened that %s", what)
		}
		<-tick.C
	}
}

// TestWithoutAConfigurationItIsTheEnvironment: what an operator of TradePulse
// sets, and nothing else.
func TestWithoutAConfigurationItIsTheEnvironment(t *testing.T) {
	t.Parallel()
	for name, vars := range map[string]map[string]string{
		"the development fallbacks":             {"TRADEPULSE_AUDIT_SECRET": "the key", "TRADEPULSE_ADMIN_TOKEN": "the-token"},
		"identifiers that name variables":       {"TRADEPULSE_AUDIT_SECRET_ID": "MY_KEY", "MY_KEY": "the key", "TRADEPULSE_ADMIN_TOKEN_ID": "T", "T": "the-token"},
		"identifiers of a store, and fallbacks": {"TRADEPULSE_AUDIT_SECRET_ID": "prod/audit", "TRADEPULSE_AUDIT_SECRET": "the key", "TRADEPULSE_ADMIN_TOKEN": "the-token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, got := open(t, options(vars)); got != "the key the-token" {
				t.Error("the values are others")
			}
		})
	}
	_, err := setup.Open(t.Context(), options(nil))
	for _, want := range []string{"2 of 2", string(audit), "set TRADEPULSE_AUDIT_SECRET)", string(admin), "set TRADEPULSE_ADMIN_TOKEN)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}

// TestTheTextOfAnIdentifierIsNoValue: a service without a store does not sign
// with the path of the key.
func TestTheTextOfAnIdentifierIsNoValue(t *testing.T) {
	t.Parallel()
	_, err := setup.Open(t.Context(), options(map[string]string{string(audit): "tradepulse/Prod-Audit-1", "TRADEPULSE_ADMIN_TOKEN": "the-token"}))
	for _, want := range []string{"1 of 2", "TRADEPULSE_AUDIT_SECRET_ID is set and names no variable", "set TRADEPULSE_AUDIT_SECRET, or say", "ROTATOR_STORE"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if err != nil && strings.Contains(err.Error(), "Prod-Audit") {
		t.Error("the error quotes what could be a value")
	}
}

func TestWhatIsWrongIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file string
		vars map[string]string
		want []string
	}{
		"an unknown key": {"store: env\nsecretz: {}\n", nil, []string{"line 2", "secretz"}},
		"a key twice":    {"store: env\nstore: aws\n", nil, []string{"line 2"}},
		"no YAML":        {"store: [", nil, []string{"client.yaml"}},
		"an unknown store": {"store: redis\n", nil, []string{
			`"redis" is none of those that this program has: env, aws, vault, natskv`,
		}},
		"several things": {"service: a.b\nvault: {mount: kv}\nnats: {prefix: x}\nsecrets: {A: \"no\\tpath\"}\n", map[string]string{"ROTATOR_POLL_INTERVAL": "soon"}, []string{
			"service:", `vault: it is set, but store is "env"`, "nats: url is missing", "secrets: A: path:", "ROTATOR_POLL_INTERVAL is no duration",
		}},
		"the old name of the fence":    {"max_stale: 12h\n", nil, []string{"max_stale (ROTATOR_MAX_STALE) is called fence (ROTATOR_FENCE) now"}},
		"the old variable":             {"", map[string]string{"ROTATOR_MAX_STALE": "12h"}, []string{"max_stale (ROTATOR_MAX_STALE) is called fence (ROTATOR_FENCE) now"}},
		"no fence":                     {"fence: -1s\n", nil, []string{"fence: it is negative"}},
		"an unknown join":              {"join: soon\n", nil, []string{`join: "soon" is unknown, use required`}},
		"a secret that is not checked": {"", map[string]string{"ROTATOR_CHECKED_AT_USE": "NOT_HELD", "TRADEPULSE_AUDIT_SECRET": "x", "TRADEPULSE_ADMIN_TOKEN": "y"}, []string{"NOT_HELD is checked at use and not among"}},
		"a bus without trust":          {"nats: {url: \"nats://127.0.0.1:4222\"}\n", nil, []string{"trusted_keys: name the public keys"}},
		"two ways to log in":           {"nats: {url: x, credentials: {user: a, creds_file: b}}\n", nil, []string{"keep one of creds_file, nkey_file"}},
		"natskv without its key":       {"store: natskv\n", nil, []string{"nats.url and natskv.master_key are required"}},
		"a login without its role":     {"store: vault\nvault: {auth: {method: kubernetes}}\n", nil, []string{"the method kubernetes needs role"}},
		"an unknown login":             {"store: vault\nvault: {auth: {method: password}}\n", nil, []string{`"password" is none of token`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(c.vars)
			o.File = write(t, c.file)
			_, err := setup.Open(t.Context(), o)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
	o := options(nil)
	o.File = write(t, "store: env\npassword: Very-Secret-1\n")
	if _, err := setup.Open(t.Context(), o); err == nil || strings.Contains(err.Error(), "Very-Secret") {
		t.Errorf("the error quotes the file: %v", err)
	}
	if _, err := setup.Open(t.Context(), setup.Options{File: "/nowhere/client.yaml"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("err %v", err)
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "client.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// put makes a value current.
func put(t *testing.T, d store.Driver, path, value string) secret.VersionID {
	t.Helper()
	ctx := t.Context()
	var from secret.VersionID
	if m, err := d.Describe(ctx, path); err == nil {
		from = m.Current().ID
	}
	v, err := d.Put(ctx, path, store.Write{Token: secret.NewToken(secret.ID(path), from, value, 0), From: from, Value: secret.NewValue([]byte(value)), Create: true})
	if err == nil {
		err = d.Promote(ctx, path, from, v.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// paths are the identifiers as an operator sets them for a store.
var paths = map[string]string{string(audit): "tradepulse/audit-key", string(admin): "tradepulse/admin-token"}

func with(more map[string]string) map[string]string {
	out := maps.Clone(paths)
	maps.Copy(out, more)
	return out
}

// rotates checks that a service of the given variables has what is in a store,
// and hears of a rotation by polling.
func rotates(t *testing.T, d store.Driver, vars map[string]string) {
	t.Helper()
	put(t, d, paths[string(audit)], "The-Key-One-00001!")
	put(t, d, paths[string(admin)], "The-Token-One-001!")
	vars["ROTATOR_POLL_INTERVAL"] = "50ms"
	c, got := open(t, options(vars))
	if got != "The-Key-One-00001! The-Token-One-001!" {
		t.Error("the values are others")
	}
	put(t, d, paths[string(audit)], "The-Key-Two-00002!")
	eventually(t, "the rotation is noticed", func() bool { return read(c, audit) == "The-Key-Two-00002!" })
	vars[string(admin)] = "tradepulse/nowhere"
	_, err := setup.Open(t.Context(), options(vars))
	if err == nil || !strings.Contains(err.Error(), "1 of 2") || !strings.Contains(err.Error(), `write a first version at "tradepulse/nowhere"`) {
		t.Errorf("a secret that is missing: %v", err)
	}
}

func TestAWS(t *testing.T) {
	moto := serverstest.StartMoto(t)
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "root", "AWS_SECRET_ACCESS_KEY": "root", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(k, v) // the SDK looks there itself
	}
	d, err := awssm.Open(t.Context(), awssm.Config{Endpoint: moto.URL})
	if err != nil {
		t.Fatal(err)
	}
	rotates(t, d, with(map[string]string{"ROTATOR_STORE": "aws", "ROTATOR_AWS_ENDPOINT": moto.URL}))
}

func TestVault(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	d, err := vaultdriver.Open(vaultdriver.Config{Address: bao.URL, Prefix: "team", Auth: vaultdriver.Token{Token: bao.Root}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	const policy = `path "secret/data/team/*" { capabilities = ["read"] }
path "secret/metadata/team/*" { capabilities = ["read"] }
path "secret/data/rotator-state/team/*" { capabilities = ["read"] }`
	role := bao.AppRole(t, "service", policy, "1h")
	rotates(t, d, with(map[string]string{
		"ROTATOR_STORE": "vault", "ROTATOR_VAULT_ADDRESS": bao.URL, "ROTATOR_VAULT_PREFIX": "team",
		"VAULT_ROLE_ID": role.ID, "VAULT_SECRET_ID": role.Secret,
	}))
	o := options(with(map[string]string{"ROTATOR_VAULT_ADDRESS": bao.URL, "VAULT_TOKEN": bao.Root}))
	o.Providers = []setup.Provider{vault.Provider()}
	o.File = write(t, "store: vault\nvault: {prefix: team}\nsecrets:\n  TRADEPULSE_AUDIT_SECRET_ID: tradepulse/admin-token\n")
	if _, got := open(t, o); got != "The-Token-One-001! The-Token-One-001!" {
		t.Error("the file does not go before the variables that ids name")
	}
}

// waitsForABucket opens, and returns once the service waits. Its answer comes once
// there is a bucket.
func waitsForABucket(t *testing.T, o setup.Options) <-chan error {
	t.Helper()
	log := &waittest.Buffer{}
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	answer := make(chan error, 1)
	go func() {
		_, err := setup.Open(t.Context(), o)
		answer <- err
	}()
	eventually(t, "the service waits", func() bool { return strings.Contains(log.String(), "nats.waiting") })
	return answer
}

// TestNATSKV: the store is on the bus, and a rotation is heard of over it.
func TestNATSKV(t *testing.T) {
	t.Parallel()
	server := eventstest.NewListener(t)
	bus := server.NewBus(events.StreamOptions{})
	js, err := jetstream.New(server.Connect())
	if err != nil {
		t.Fatal(err)
	}
	vars := with(map[string]string{
		"ROTATOR_STORE": "natskv", "ROTATOR_NATS_URL": server.URL(), "ROTATOR_TRUSTED_KEYS": server.SavePublicKey(),
		"ROTATOR_NATSKV_MASTER_KEY_FILE": filepath.Join(t.TempDir(), "master.key"),
	})
	key, err := natskv.GenerateMasterKey(vars["ROTATOR_NATSKV_MASTER_KEY_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	impatient := options(vars)
	impatient.ConnectTimeout = time.Second
	if _, err := setup.Open(t.Context(), impatient); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a service makes the bucket itself: %v", err)
	}
	early := waitsForABucket(t, options(vars))
	d, err := natskv.Open(t.Context(), natskv.Config{JS: js, MasterKey: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-early; err == nil || !errors.Is(err, store.ErrNotFound) {
		t.Errorf("with the bucket: %v, want that the secret is not in it", err)
	}
	rotates(t, d, maps.Clone(vars))
	c, _ := open(t, options(vars))
	v := put(t, d, paths[string(audit)], "The-Key-Six-00006!")
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: audit, Store: "main", VersionID: v, Reason: events.ReasonManual})
	if err := bus.Notify(t.Context(), "audit-api", e, 1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the notification is heard", func() bool { return read(c, audit) == "The-Key-Six-00006!" })
	eventually(t, "it is on record", func() bool {
		f, err := bus.Fleet(t.Context(), audit)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(f.Users, func(u events.User) bool { return u.Use.Instance == c.Instance() && u.Use.VersionID == v })
	})
}

// TestAServiceStartsWithoutTheBus: it is there from the store, and on the bus as
// soon as there is one.
func TestAServiceStartsWithoutTheBus(t *testing.T) {
	t.Parallel()
	server := eventstest.NewListener(t)
	bus := server.NewBus(events.StreamOptions{})
	url, trusted := server.URL(), server.SavePublicKey()
	server.Stop()
	c, err := setup.Open(t.Context(), options(map[string]string{
		"TRADEPULSE_AUDIT_SECRET": "the key", "TRADEPULSE_ADMIN_TOKEN": "the-token", "ROTATOR_NATS_URL": url, "ROTATOR_TRUSTED_KEYS": trusted,
		"ROTATOR_CHECKED_AT_USE": string(audit) + string(filepath.ListSeparator) + string(admin), // which wait for no bus
	}))
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	for _, id := range []secret.ID{audit, admin} {
		eventually(t, "it is on record", func() bool {
			f, err := bus.Fleet(t.Context(), id)
			return err == nil && len(f.Users) == 1 && f.Users[0].Use.Service == "audit-api" && f.Users[0].Use.VersionID != "" && f.Users[0].Use.PastFence == events.PastFenceRefuse
		})
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestExamplesInTheDocuments(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../docs/examples/client/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%d examples, err %v", len(files), err)
	}
	for _, f := range files {
		c, err := setup.Load(f, func(string) (string, bool) { return "", false })
		if err != nil || c.Service != "tradepulse-api" || len(c.Secrets) != 2 {
			t.Errorf("%s: err %v", f, err)
		}
	}
}

// TestEverySettingHasAVariable, which is told when it is a setting of services.
func TestEverySettingHasAVariable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, name := range settings.ServiceVariables() {
		if !strings.HasPrefix(name, "ROTATOR_") || seen[name] {
			t.Errorf("%s stands here twice, or is none of ours", name)
		}
		seen[name] = true
	}
	for _, name := range []string{setup.FileVariable, "ROTATOR_STORE", "ROTATOR_NATS_URL", "ROTATOR_TRUSTED_KEYS", "ROTATOR_VAULT_MOUNT", "ROTATOR_VAULT_AUTH_ROLE"} {
		if !seen[name] {
			t.Errorf("%s is not among the %d variables", name, len(seen))
		}
	}
}
