package vault_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

func open(t *testing.T, cfg vault.Config) *vault.Driver {
	t.Helper()
	if cfg.Retries == 0 {
		cfg.Retries = -1
	}
	d, err := vault.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func asRoot(b *serverstest.Bao) vault.Config {
	return vault.Config{Address: b.URL, Auth: vault.Token{Token: b.Root}}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		return storetest.Harness{
			Driver: open(t, asRoot(bao)), Tag: tagger(bao),
			Another: func(t *testing.T) store.Driver { t.Helper(); return open(t, asRoot(bao)) },
			Delete: func(_ context.Context, path string) error {
				bao.Do(t, http.MethodDelete, "secret/metadata/"+path, nil, nil)
				return nil
			},
			Deny: func(t *testing.T, op string) store.Driver {
				t.Helper()
				role := bao.AppRole(t, "lacks-"+op, without(t, op), "1h")
				return open(t, vault.Config{Address: bao.URL, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
			},
			Throttle: func(t *testing.T) store.Driver {
				t.Helper()
				cfg := asRoot(bao)
				cfg.Transport = &wire{refuse: http.StatusTooManyRequests}
				return open(t, cfg)
			},
			Quoting: func(t *testing.T, answer func([]byte) (int, []byte)) store.Driver {
				t.Helper()
				cfg, front := asRoot(bao), serverstest.StartProxy(t, bao.URL)
				front.Inject(-1, nil, serverstest.Quoting(answer))
				cfg.Address = front.URL
				return open(t, cfg)
			},
		}
	})
}

// tagger returns what sets the custom metadata of a secret.
func tagger(bao *serverstest.Bao) func(*testing.T, string, map[string]string) {
	return func(t *testing.T, path string, attrs map[string]string) {
		t.Helper()
		bao.Do(t, http.MethodPost, "secret/metadata/"+path, map[string]any{"custom_metadata": attrs}, nil)
	}
}

func policy(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../deployments/vault/rotator.hcl")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// without returns the policy of the deployment less what an operation needs.
func without(t *testing.T, op string) string {
	t.Helper()
	lacks := map[string][2]string{
		"describe": {"secret/metadata/*", "read"},
		"list":     {"secret/metadata/*", "list"},
		"get":      {"secret/data/*", "read"},
		"put":      {"secret/data/rotator-state/*", "read"},
		"promote":  {"secret/data/*", "update"},
		"retire":   {"secret/data/rotator-state/*", "update"},
	}[op]
	return drop(t, lacks[0], lacks[1])
}

// drop takes a capability on a path from the policy of the deployment.
func drop(t *testing.T, path, capability string) string {
	t.Helper()
	block := regexp.MustCompile(`(?s)path "` + regexp.QuoteMeta(path) + `" \{.*?\}`)
	text := policy(t)
	old := block.FindString(text)
	fresh := strings.Replace(old, `"`+capability+`"`, `"deny-nothing"`, 1)
	fresh = strings.NewReplacer(`, "deny-nothing"`, "", `"deny-nothing", `, "", `"deny-nothing"`, "").Replace(fresh)
	if old == "" || fresh == old {
		t.Fatalf("the policy gives no %s on %s", capability, path)
	}
	return strings.Replace(text, old, fresh, 1)
}

// wire is a transport that counts calls, and refuses them all with a status if
// that is set.
type wire struct {
	mu     sync.Mutex
	calls  []string
	refuse int
	lose   func(*http.Request) bool // the answers that do not arrive
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.calls = append(w.calls, r.Method+" "+r.URL.Path)
	refuse, lose := w.refuse, w.lose
	w.mu.Unlock()
	if refuse != 0 {
		return &http.Response{StatusCode: refuse, Request: r, Body: http.NoBody, Header: http.Header{}}, nil
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && lose != nil && lose(r) {
		resp.Body.Close()
		return nil, errors.New("the connection was lost")
	}
	return resp, err
}

// take returns the calls since it was last asked.
func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	calls := w.calls
	w.calls = nil
	return calls
}

func write(path string, n int, from secret.VersionID) store.Write {
	return store.Write{
		Token: secret.NewToken(secret.ID(path), secret.VersionID(fmt.Sprint(n)), "test", n), From: from,
		Value: secret.NewValue(fmt.Appendf(nil, "Value-%d-of-%s", n, path)), Create: true,
	}
}

// rotate makes version n current as a rotation does.
func rotate(t *testing.T, d store.Driver, path string, n int) {
	t.Helper()
	m, err := d.Describe(t.Context(), path)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	from := m.Current().ID
	v, err := d.Put(t.Context(), path, write(path, n, from))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Promote(t.Context(), path, from, v.ID); err != nil {
		t.Fatal(err)
	}
}

func TestCalls(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	w := &wire{}
	cfg := asRoot(bao)
	cfg.Transport = w
	d := open(t, cfg)
	rotate(t, d, "calls", 1)
	for n := 2; n < 5; n++ {
		if n == 4 {
			// Another process, which has to log in first.
			if err := d.Retire(t.Context(), "calls", "2", secret.RetireDelete); err != nil {
				t.Fatal(err)
			}
			d = open(t, cfg)
			if _, err := d.Describe(t.Context(), "another"); !errors.Is(err, store.ErrNotFound) {
				t.Fatal(err)
			}
		}
		w.take()
		rotate(t, d, "calls", n)
		calls := w.take()
		t.Logf("rotation %d: %d calls %v", n, len(calls), calls)
		if len(calls) > 6 {
			t.Errorf("a rotation makes %d calls, want at most 6", len(calls))
		}
	}
}

// TestReadersSeeCurrentOnly reads past the driver, as an agent or an operator
// for Kubernetes does.
func TestReadersSeeCurrentOnly(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	d := open(t, asRoot(bao))
	newest := func() (value any, version int) {
		var got struct {
			Data struct {
				Data     map[string]any
				Metadata struct{ Version int }
			}
		}
		bao.Do(t, http.MethodGet, "secret/data/app/key", nil, &got)
		return got.Data.Data["value"], got.Data.Metadata.Version
	}
	rotate(t, d, "app/key", 1)
	w := write("app/key", 2, "1")
	v, err := d.Put(t.Context(), "app/key", w)
	if err != nil {
		t.Fatal(err)
	}
	if got, n := newest(); got != "Value-1-of-app/key" || n != 1 {
		t.Errorf("while version 2 is pending, a reader gets version %d", n)
	}
	if err := d.Promote(t.Context(), "app/key", "1", v.ID); err != nil {
		t.Fatal(err)
	}
	if got, n := newest(); got != "Value-2-of-app/key" || n != 2 || v.ID != "2" {
		t.Errorf("after the promotion a reader gets version %d", n)
	}
}

// TestDocument rotates a secret that others read field by field.
func TestDocument(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	bao.Do(t, http.MethodPost, "secret/data/db", map[string]any{"data": map[string]any{"password": "old", "port": 5432, "user": "app"}}, nil)
	d := open(t, asRoot(bao))
	_, v, err := d.Get(t.Context(), "db", store.Selector{})
	if err != nil || string(v.Reveal()) != `{"password":"old","port":5432,"user":"app"}` {
		t.Fatalf("err %v, or the document is another", err)
	}
	w := write("db", 1, "1")
	w.Value = secret.NewValue([]byte(`{"password":"new","port":5432,"user":"app"}`))
	next, err := d.Put(t.Context(), "db", w)
	if err == nil {
		err = d.Promote(t.Context(), "db", "1", next.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got struct{ Data struct{ Data map[string]any } }
	bao.Do(t, http.MethodGet, "secret/data/db", nil, &got)
	if f := got.Data.Data; f["password"] != "new" || f["port"] != 5432.0 || f["user"] != "app" || len(f) != 3 {
		t.Errorf("the fields are not those of the document: %d", len(f))
	}
}

// TestForeignWrite: another program writes while a version is pending.
// TestAPathHasOneForm: what is read under a path is what List shows in the normal
// form of the path, and no path leaves the prefix.
func TestAPathHasOneForm(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	for path, value := range map[string]string{"team/a/b": "inside", "other/c": "outside"} {
		bao.Do(t, http.MethodPost, "secret/data/"+path, map[string]any{"data": map[string]string{"value": value}}, nil)
	}
	cfg := asRoot(bao)
	cfg.Prefix = "team"
	d := open(t, cfg)
	for path, want := range map[string]string{"a/b": "a/b", "/a/b": "a/b", "a/b/": "a/b", "a//b": "a/b", "a/./b": "a/b", "a/x/../b": "a/b", "../a/b": "a/b", "/": "", ".": ""} {
		if got := d.NormalPath(path); got != want || d.NormalPath(got) != got {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
		if want == "" {
			continue
		}
		m, err := d.Describe(t.Context(), path)
		if err != nil || m.Path != want {
			t.Errorf("%s is described as %q, %v", path, m.Path, err)
		}
		if _, v, err := d.Get(t.Context(), path, store.Selector{}); err != nil || string(v.Reveal()) != "inside" {
			t.Errorf("%s cannot be read: %v", path, err)
		}
	}
	if _, err := d.Describe(t.Context(), "../other/c"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("beside the prefix: %v", err)
	}
	for m, err := range d.List(t.Context()) {
		if err != nil || m.Path != "" && m.Path != "a/b" {
			t.Errorf("it lists %q, %v", m.Path, err)
		}
	}
}

func TestForeignWrite(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	d := open(t, asRoot(bao))
	rotate(t, d, "app", 1)
	v, err := d.Put(t.Context(), "app", write("app", 2, "1"))
	if err != nil {
		t.Fatal(err)
	}
	bao.Do(t, http.MethodPost, "secret/data/app", map[string]any{"data": map[string]any{"value": "theirs"}}, nil)
	if err := d.Promote(t.Context(), "app", "1", v.ID); !errors.Is(err, store.ErrConflict) {
		t.Errorf("promote over another program's version: %v", err)
	}
	m, err := d.Describe(t.Context(), "app")
	if cur := m.Current(); err != nil || cur.ID != "2" || cur.Token != "" {
		t.Errorf("current is %s with token %q, want theirs; err %v", cur.ID, cur.Token, err)
	}
	rotate(t, d, "app", 3)
	m, err = d.Describe(t.Context(), "app")
	if cur := m.Current(); err != nil || cur.ID != "3" || cur.Token != write("app", 3, "").Token {
		t.Errorf("after the next rotation current is %s: %v", cur.ID, err)
	}
}

// TestAnswersThatDoNotArrive loses the answer of each write in turn, after the
// server has done it. The same calls again finish what was begun, once.
func TestAnswersThatDoNotArrive(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	for name, suffix := range map[string]string{"the state": "/rotator-state/", "the secret": "/data/lost"} {
		path := "lost-" + strings.ReplaceAll(name, " ", "-")
		rotate(t, open(t, asRoot(bao)), path, 1)
		cfg := asRoot(bao)
		lost := false
		cfg.Transport = &wire{lose: func(r *http.Request) bool {
			hit := !lost && r.Method == http.MethodPut && strings.Contains(r.URL.Path, suffix)
			lost = lost || hit
			return hit
		}}
		d := open(t, cfg)
		v, err := d.Put(t.Context(), path, write(path, 2, "1"))
		if errors.Is(err, store.ErrUnavailable) {
			v, err = d.Put(t.Context(), path, write(path, 2, "1"))
		}
		if err != nil {
			t.Fatalf("%s: put: %v", name, err)
		}
		err = d.Promote(t.Context(), path, "1", v.ID)
		if errors.Is(err, store.ErrUnavailable) {
			err = open(t, asRoot(bao)).Promote(t.Context(), path, "1", v.ID) // another process takes over
		}
		if err != nil {
			t.Fatalf("%s: promote: %v", name, err)
		}
		m, err := d.Describe(t.Context(), path)
		if cur := m.Current(); err != nil || !lost || len(m.Versions) != 2 || cur.Token != write(path, 2, "").Token {
			t.Errorf("%s: lost %t, versions %+v, err %v", name, lost, m.Versions, err)
		}
	}
}
