package accounts_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tradepulse/rotator/cmd/internal/accounts"
	shipped "github.com/tradepulse/rotator/deployments/nats"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// options parses accounts as nats-server does.
func options(t *testing.T, conf string) *server.Options {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts.conf")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatalf("%v\n%s", err, conf)
	}
	return o
}

// rights returns what each user may do, and what each account exports and imports.
func rights(o *server.Options) map[string]string {
	out := map[string]string{}
	for _, u := range o.Nkeys {
		out[u.Nkey] = fmt.Sprintf("%s %q %q", u.Account.Name, u.Permissions.Publish.Allow, u.Permissions.Subscribe.Allow)
	}
	return out
}

// TestTheTemplateOfItself: with what the shipped accounts are for, the result grants the
// same. The tests in integration hold for both then.
func TestTheTemplateOfItself(t *testing.T) { //nolint:paralleltest // it sets the environment
	key := map[string]string{}
	for _, name := range []string{"scheduler", "worker", "notifier", "operator", "audit-api", "admin-api"} {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		if key[name], err = pair.PublicKey(); err != nil {
			t.Fatal(err)
		}
		t.Setenv("NATS_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))+"_NKEY", key[name])
	}
	got, err := accounts.Render(shipped.Accounts, accounts.Site{
		Buckets: []string{"secrets"}, EventBridge: true, Services: []string{"audit-api", "admin-api"}, Users: []string{"scheduler", "worker", "notifier", "operator"},
		Key: func(name string) (string, error) { return key[name], nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := rights(options(t, got)), rights(options(t, shipped.Accounts)); !reflect.DeepEqual(a, b) || len(a) != 6 {
		t.Errorf("got  %v\nwant %v", a, b)
	}
	if strings.Join(exports(got), "\n") != strings.Join(exports(shipped.Accounts), "\n") {
		t.Errorf("exports and imports differ:\n%s", got)
	}
}

// exports returns the lines about exports and imports.
func exports(conf string) (out []string) {
	for line := range strings.Lines(conf) {
		if strings.Contains(line, "{stream:") || strings.Contains(line, "{service:") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// site is a server with the accounts of a configuration.
type site struct {
	t    *testing.T
	srv  *server.Server
	keys map[string]nkeys.KeyPair
}

func start(t *testing.T, s accounts.Site) *site {
	t.Helper()
	w := &site{t: t, keys: map[string]nkeys.KeyPair{}}
	s.Key = func(name string) (string, error) {
		pair, err := nkeys.CreateUser()
		if err != nil {
			return "", err
		}
		w.keys[name] = pair
		return pair.PublicKey()
	}
	conf, err := accounts.Render(shipped.Accounts, s)
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, conf)
	o.Host, o.Port, o.NoSigs, o.NoLog, o.JetStream, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, true, true, t.TempDir()
	if w.srv, err = server.NewServer(o); err != nil {
		t.Fatal(err)
	}
	w.srv.Start()
	t.Cleanup(func() { w.srv.Shutdown(); w.srv.WaitForShutdown() })
	if !w.srv.ReadyForConnections(time.Minute) {
		t.Fatal("nats-server did not start")
	}
	return w
}

func (w *site) connect(user string, denied chan<- error) *nats.Conn {
	w.t.Helper()
	public, err := w.keys[user].PublicKey()
	if err != nil {
		w.t.Fatal(err)
	}
	nc, err := nats.Connect(w.srv.ClientURL(), nats.Nkey(public, w.keys[user].Sign), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		w.t.Fatalf("%s: %v", user, err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

// TestWithAPrefix: every program can do its work in streams with a prefix, a service
// gets its own messages, and nothing of another service.
func TestWithAPrefix(t *testing.T) {
	t.Parallel()
	w := start(t, accounts.Site{Prefix: "prod.eu", Buckets: []string{"values"}, Services: []string{"orders-api", "billing"}})
	names, err := events.NewNames("prod.eu")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	trusted := events.NewVerifier(signer.Public())
	denied := make(chan error, 100)
	bus := func(user, api string) *events.Bus {
		b, err := events.New(w.connect(user, denied), events.Config{Names: names, Source: "/test/" + user, Signer: signer, Verifier: trusted, APIPrefix: api})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	programs := map[string]*events.Bus{}
	for _, user := range []string{accounts.Rotator, accounts.Scheduler, accounts.Worker, accounts.Notifier} {
		programs[user] = bus(user, "")
		if err := programs[user].EnsureStreams(t.Context(), events.StreamOptions{}); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		for _, h := range programs[user].Health(t.Context()) {
			if h.Err != nil {
				t.Errorf("%s: %v", user, h.Err)
			}
		}
	}
	programs[accounts.Operator] = bus(accounts.Operator, "")
	for user, b := range programs {
		if _, err := b.Fleet(t.Context(), "DB"); err != nil {
			t.Errorf("%s: %v", user, err)
		}
		if _, err := b.Timer(t.Context(), events.TypeNearExpiry, "DB"); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: "DB", Store: "main", VersionID: "v2"})
	if err := programs[accounts.Rotator].Publish(t.Context(), e); err != nil {
		t.Error(err)
	}
	service := bus("orders-api", "ROTATOR.API")
	join(t, service, "orders-api")
	if _, err := service.LastNotified(t.Context(), "orders-api", "DB"); err != nil {
		t.Error(err)
	}
	if fleet, err := programs[accounts.Operator].Fleet(t.Context(), "DB"); err != nil || len(fleet.Users) != 1 {
		t.Errorf("%v: the fleet has %d users, want the service", err, len(fleet.Users))
	}
	select {
	case err := <-denied:
		t.Errorf("denied: %v", err)
	default:
	}
	w.forbidden()
}

// join records a use of DB by an instance of a service.
func join(t *testing.T, b *events.Bus, service string) {
	t.Helper()
	now := time.Now()
	_, err := b.Join(t.Context(), events.Presence{Service: service, Instance: "1", Incarnation: "a1", StartedAt: now, At: now, Lease: 60})
	if err == nil {
		err = b.WriteUse(t.Context(), events.Use{
			Running: events.Running{SecretID: "DB", VersionID: "v2", Status: events.StatusApplied, At: now},
			Service: service, Instance: "1", Incarnation: "a1", Accepts: []secret.VersionID{}, PastFence: events.PastFenceServe, Joined: true,
		})
	}
	if err != nil {
		t.Error(err)
	}
}

// forbidden tries what no account may do.
func (w *site) forbidden() {
	w.t.Helper()
	errs := make(chan error, 100)
	for user, subjects := range map[string][]string{
		"orders-api":      {"prod.eu.report.billing.1.x", "prod.eu.notify.orders-api.x", "prod.eu.secret.rotated.x", "$JS.API.STREAM.PURGE.PROD_EU_USES", "ROTATOR.API.DIRECT.GET.PROD_EU_NOTIFY.prod.eu.notify.billing.x"},
		"notifier":        {"$KV.values.s.x", "$JS.API.STREAM.MSG.GET.KV_values", "prod.eu.secret.rotated.x", "prod.eu.record.retired.x"},
		"worker":          {"$JS.API.STREAM.PURGE.PROD_EU_USES", "prod.eu.notify.orders-api.x"},
		"scheduler":       {"prod.eu.secret.rollout.x", "$JS.API.STREAM.DELETE.PROD_EU_ROTATED"},
		accounts.Operator: {"prod.eu.secret.rotated.x", "prod.eu.record.reader.x"},
	} {
		nc := w.connect(user, errs)
		for _, subject := range subjects {
			if err := nc.Publish(subject, nil); err != nil {
				w.t.Error(err)
			}
		}
		if err := nc.Flush(); err != nil {
			w.t.Error(err)
		}
		for range subjects {
			select {
			case err := <-errs:
				if !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
					w.t.Errorf("%s: %v", user, err)
				}
			case <-w.t.Context().Done():
				return
			case <-time.After(time.Minute):
				w.t.Errorf("%s may publish one of %q", user, subjects)
				return
			}
		}
	}
}

func TestServicesThatWouldShareAnAccount(t *testing.T) {
	t.Parallel()
	_, err := accounts.Render(shipped.Accounts, accounts.Site{Services: []string{"a-b", "a_b"}, Key: func(string) (string, error) { return "U", nil }})
	if err == nil || !strings.Contains(err.Error(), "rename one of them") {
		t.Error(err)
	}
	if !slices.Contains(accounts.Users(), accounts.Rotator) {
		t.Error("no user for a process that is both scheduler and worker")
	}
}
