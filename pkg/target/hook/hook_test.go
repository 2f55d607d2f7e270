package hook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/hook"
	"github.com/tradepulse/rotator/pkg/target/targettest"
)

const adminToken = "Admin-Token-0123456789"

// api is the service of docs/targets/hook.md: it keeps keys by their names.
type api struct {
	mu   sync.Mutex
	keys map[string]*apiKey // :: user and name, as in the path
	log  strings.Builder
	lose map[string]bool // :: user → the next change of the user is not answered
}

type apiKey struct {
	value    string
	disabled bool
	lastUsed time.Time
}

func startAPI(t *testing.T) (*api, string) {
	t.Helper()
	a := &api{keys: map[string]*apiKey{}, lose: map[string]bool{}}
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	return a, s.URL
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(&a.log, r.Method, r.URL.EscapedPath())
	status, out := a.handle(r, body)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out)
}

func (a *api) handle(r *http.Request, body []byte) (int, map[string]any) {
	path, token := r.URL.EscapedPath(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	done := map[string]any{"ok": true}
	if path == "/whoami" {
		if a.uses(token) {
			return http.StatusOK, done
		}
		return http.StatusUnauthorized, nil
	}
	if token != adminToken {
		return http.StatusForbidden, nil
	}
	if user, ok := strings.CutSuffix(path, "/keys"); ok {
		names := []string{}
		for name := range a.keys {
			if n, ok := strings.CutPrefix(name, user+"/keys/"); ok {
				names = append(names, n)
			}
		}
		return http.StatusOK, map[string]any{"names": names}
	}
	name, verb, _ := strings.Cut(path, "/disable")
	name, enable := strings.CutSuffix(name, "/enable")
	k := a.keys[name]
	switch {
	case r.Method == http.MethodPut:
		var in struct{ Key string }
		if json.Unmarshal(body, &in) != nil || strings.Contains(in.Key, "refused") {
			return http.StatusUnprocessableEntity, nil
		}
		a.keys[name] = &apiKey{value: in.Key}
	case k == nil:
		return http.StatusNotFound, nil
	case r.Method == http.MethodDelete:
		delete(a.keys, name)
	case r.Method == http.MethodPost:
		k.disabled = !enable && verb == ""
	case !k.lastUsed.IsZero():
		return http.StatusOK, map[string]any{"last_used": k.lastUsed}
	}
	return http.StatusOK, done
}

// uses reports whether a key works, and notes its use.
func (a *api) uses(token string) bool {
	for _, k := range a.keys {
		if k.value == token && !k.disabled {
			k.lastUsed = time.Now()
			return true
		}
	}
	return false
}

func (a *api) login(_ context.Context, v secret.Value) (targettest.Session, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.uses(string(v.Reveal())) {
		return nil, errors.New("the key does not work")
	}
	return noSession{}, nil
}

// noSession: an API has none.
type noSession struct{}

func (noSession) Address() string             { return "" }
func (noSession) Use(context.Context) error   { return nil }
func (noSession) Begin(context.Context) error { return nil }
func (noSession) Close()                      {}

func (a *api) loseNext(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lose[user] = true
}

func (a *api) logged() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.String()
}

// pageProgram writes the program of the page.
func pageProgram(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/targets/hook.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```python\n")
	text, _, ok2 := strings.Cut(rest, "```\n")
	if !ok || !ok2 {
		t.Fatal("the page has no program")
	}
	name := filepath.Join(t.TempDir(), "keys-hook")
	if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestSuite runs the suite with an endpoint. The program of the page, of which each
// call starts an interpreter, has a test of its own.
func TestSuite(t *testing.T) {
	t.Parallel()
	a := &api{keys: map[string]*apiKey{}, lose: map[string]bool{}}
	endpoint := httptest.NewServer(http.HandlerFunc(a.endpoint))
	t.Cleanup(endpoint.Close)
	t.Run("endpoint", func(t *testing.T) { // its end is that of all parallel cases
		targettest.Run(t, func(t *testing.T, account string, versions *targettest.Versions) *targettest.Harness {
			c := hook.Config{
				URL: endpoint.URL, Secret: "KEY", User: account, Read: versions.Read,
				Capabilities: target.Capabilities{Overlap: target.OverlapAny, InUse: target.InUseLastUsed},
			}
			c.HTTP.Token = func(context.Context) (secret.Value, error) { return secret.NewValue([]byte(adminToken)), nil }
			return &targettest.Harness{
				Spec: secret.Spec{ID: "KEY", Store: "main"}, Target: mustNew(t, c), Login: a.login, Log: a.logged,
				Password: func(_ *testing.T, _ secret.Value, password string) secret.Value {
					return secret.NewValue([]byte(password))
				},
				Refused:     func(*testing.T, secret.Value) secret.Value { return secret.NewValue([]byte("refused")) },
				LoseAnswers: func() { a.loseNext(account) },
				Unreachable: func(t *testing.T) target.Target {
					c := c
					c.URL = "http://127.0.0.1:1"
					return mustNew(t, c)
				},
			}
		})
	})
}

// TestTheProgramOfThePage takes the program of docs/targets/hook.md through a rotation,
// each call made twice.
func TestTheProgramOfThePage(t *testing.T) {
	a, url := startAPI(t)
	t.Setenv("KEYS_URL", url)
	t.Setenv("KEYS_ADMIN_TOKEN", adminToken)
	versions := &targettest.Versions{}
	spec := secret.Spec{ID: "KEY", Store: "main"}
	tg := mustNew(t, hook.Config{
		Command: []string{pageProgram(t)}, Secret: "KEY", User: `o'brien & "sons"`, Read: versions.Read,
		Capabilities: target.Capabilities{Overlap: target.OverlapAny, InUse: target.InUseLastUsed},
	})
	works := func(v secret.VersionID) bool {
		value, _ := versions.Read(t.Context(), v)
		_, err := a.login(t.Context(), value)
		return err == nil
	}
	var from secret.VersionID
	for _, to := range []secret.VersionID{"v1", "v2"} {
		c := versions.Change(spec, from, to)
		value, err := tg.Propose(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		versions.Put(to, value)
		for range 2 {
			ref, err := tg.Apply(t.Context(), c)
			if err := errors.Join(err, tg.Verify(t.Context(), c)); err != nil || ref.Name != string(to) {
				t.Fatalf("%+v, %v", ref, err)
			}
		}
		versions.Promote(to)
		from = to
	}
	if !works("v1") || !works("v2") {
		t.Error("a version does not work")
	}
	ref := target.Ref{Secret: "KEY", Version: "v1"}
	if u, err := tg.InUse(t.Context(), ref); err != nil || u.LastUsed.IsZero() {
		t.Errorf("InUse() = %+v, %v", u, err)
	}
	if err := tg.Suspend(t.Context(), ref); err != nil || works("v1") {
		t.Errorf("suspend: %v, it works: %t", err, works("v1"))
	}
	if err := tg.Resume(t.Context(), ref); err != nil || !works("v1") {
		t.Errorf("resume: %v", err)
	}
	for range 2 {
		if err := tg.Revoke(t.Context(), ref, target.Drain{}); err != nil {
			t.Error(err)
		}
	}
	if works("v1") || !works("v2") {
		t.Error("after the revocation: v1 works, or v2 does not")
	}
	if refs, err := tg.List(t.Context(), nil); err != nil || !slices.Equal(refs, []target.Credential{{Ref: target.Ref{Secret: "KEY", Version: "v2"}}}) {
		t.Errorf("List() = %+v, %v", refs, err)
	}
	versions.Put("v3", secret.NewValue([]byte("refused")))
	if _, err := tg.Apply(t.Context(), versions.Change(spec, "v2", "v3")); !errors.Is(err, target.ErrRejected) {
		t.Errorf("a value that the API refuses: %v", err)
	}
	if strings.Contains(a.logged(), "refused") {
		t.Error("the log of the API has a value")
	}
}

func mustNew(t *testing.T, c hook.Config) *hook.Target {
	t.Helper()
	tg, err := hook.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

// endpoint is a hook that speaks HTTP, in front of the same keys.
func (a *api) endpoint(w http.ResponseWriter, r *http.Request) {
	var in hook.Request
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || r.Header.Get("Authorization") != "Bearer "+adminToken {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(&a.log, in.Verb, in.User)
	name := in.User + "\x00" + string(in.Version)
	out, status := hook.Answer{Name: string(in.Version)}, http.StatusOK
	switch in.Verb {
	case "apply":
		if in.Value == "refused" {
			status = http.StatusUnprocessableEntity
		} else {
			a.keys[name] = &apiKey{value: in.Value}
		}
	case "verify":
		if !a.uses(in.Value) {
			status = http.StatusUnauthorized
		}
	case "revoke":
		delete(a.keys, name)
	case "suspend", "resume":
		a.keys[name].disabled = in.Verb == "suspend"
	case "in_use":
		out.LastUsed = a.keys[name].lastUsed
	case "list":
		for n := range a.keys {
			if v, ok := strings.CutPrefix(n, in.User+"\x00"); ok {
				out.Versions = append(out.Versions, secret.VersionID(v))
			}
		}
	default:
		status = http.StatusNotImplemented
	}
	if (in.Verb == "apply" || in.Verb == "revoke") && a.lose[in.User] {
		delete(a.lose, in.User)
		panic(http.ErrAbortHandler) // the connection breaks after the change
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out)
}

// TestWhatAHookSaysIsTakenAsItIs: codes, complaints and answers of a program.
func TestWhatAHookSaysIsTakenAsItIs(t *testing.T) {
	t.Parallel()
	const value = "Pending-Value-0123456789"
	versions := &targettest.Versions{}
	versions.Put("v1", secret.NewValue([]byte("Current-Value-0123456789")))
	versions.Put("v2", secret.NewValue([]byte(value)))
	versions.Promote("v1")
	for name, c := range map[string]struct {
		script string
		is     error
		says   string
	}{
		"a refusal":             {"echo too weak >&2; exit 3", target.ErrRejected, "too weak"},
		"an unknown verb":       {"exit 4", target.ErrUnsupported, ""},
		"a complaint":           {"echo no route >&2; exit 1", nil, "no route"},
		"a value in an error":   {"cat >&2; exit 1", nil, "[redacted]"},
		"an answer of no JSON":  {"cat >/dev/null; echo " + value, nil, "not JSON"},
		"an answer of too much": {"cat >/dev/null; yes | head -c 2000000", nil, "longer than 1 MiB"},
		"no program":            {"exec /nowhere", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tg := mustNew(t, hook.Config{Command: []string{"sh", "-c", c.script}, Read: versions.Read})
			_, err := tg.Apply(t.Context(), versions.Change(secret.Spec{ID: "KEY"}, "v1", "v2"))
			if err == nil || c.is != nil && !errors.Is(err, c.is) || c.is == nil && errors.Is(err, target.ErrRejected) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("err %v, want %q", err, c.says)
			}
			if strings.Contains(fmt.Sprintf("%+v", err), value) {
				t.Error("the error holds the value")
			}
		})
	}
}

// TestNoValueIsInAnArgument: a program sees its values on the standard input only.
func TestNoValueIsInAnArgument(t *testing.T) {
	t.Parallel()
	versions := &targettest.Versions{}
	versions.Put("v1", secret.NewValue([]byte("Value-0123456789-abc")))
	file := filepath.Join(t.TempDir(), "seen")
	tg := mustNew(t, hook.Config{Command: []string{"sh", "-c", `tr '\0' ' ' < /proc/$$/cmdline > "$1"; env >> "$1"; cat`, "sh", file}, Read: versions.Read})
	if _, err := tg.Apply(t.Context(), versions.Change(secret.Spec{ID: "KEY"}, "", "v1")); err != nil {
		t.Fatal(err)
	}
	seen, err := os.ReadFile(file)
	if err != nil || len(seen) == 0 || strings.Contains(string(seen), "Value-0123456789") {
		t.Errorf("%d bytes seen, %v; they hold no value", len(seen), err)
	}
}

// TestAProposalOfTheService: a value that the service makes itself.
func TestAProposalOfTheService(t *testing.T) {
	t.Parallel()
	versions := &targettest.Versions{}
	tg := mustNew(t, hook.Config{Command: []string{"sh", "-c", `cat >/dev/null; echo '{"value":"made-by-the-service"}'`}, Proposes: true, Read: versions.Read})
	v, err := tg.Propose(t.Context(), versions.Change(secret.Spec{ID: "KEY"}, "", ""))
	if err != nil || string(v.Reveal()) != "made-by-the-service" {
		t.Errorf("Propose() = %d bytes, %v", v.Len(), err)
	}
}

// TestURLsOfHooks: values cross the network by TLS only, and follow no redirect.
func TestURLsOfHooks(t *testing.T) {
	t.Parallel()
	versions := &targettest.Versions{}
	versions.Put("v1", secret.NewValue([]byte("Value-0123456789-abc")))
	for url, ok := range map[string]bool{
		"https://hooks.example/keys": true, "http://127.0.0.1:1/": true, "http://[::1]:1/": true, "http://localhost/": true,
		"http://hooks.example/": false, "https://u:p@hooks.example/": false, "https://hooks.example/?key=1": false, "ftp://hooks.example/": false, "hooks": false,
	} {
		if _, err := hook.New(hook.Config{URL: url, Read: versions.Read}); ok != (err == nil) {
			t.Errorf("%s: %v", url, err)
		}
	}
	var asked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	t.Cleanup(elsewhere.Close)
	s := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	t.Cleanup(s.Close)
	tg := mustNew(t, hook.Config{URL: s.URL, Read: versions.Read})
	if _, err := tg.Apply(t.Context(), versions.Change(secret.Spec{ID: "KEY"}, "", "v1")); err == nil || asked.Load() {
		t.Errorf("err %v, and the value was sent elsewhere: %t", err, asked.Load())
	}
}
