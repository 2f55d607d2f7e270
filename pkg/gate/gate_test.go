package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/gate"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/env"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func environment(vars map[string]string) *env.Driver {
	return env.Open(env.Config{Started: now, Lookup: func(k string) (string, bool) { v, ok := vars[k]; return v, ok }})
}

// codes returns what is wrong as "ID code", in order.
func codes(found []secret.Finding) []string {
	out := []string{}
	for _, v := range found {
		out = append(out, v.Subject+" "+string(v.Code))
	}
	slices.Sort(out)
	return out
}

// TestVectors holds the gate to the table that every other implementation of it
// is held to.
func TestVectors(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/policy-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var table struct {
		Required []secret.ID
		Floors   map[secret.ID]int `json:"default_min_ttl_seconds"`
		Cases    []struct {
			Name        string
			Environment map[string]string
			MinTTL      map[secret.ID]int `json:"min_ttl_seconds"`
			Violations  []struct{ ID, Code string }
		}
	}
	if err := json.Unmarshal(b, &table); err != nil || len(table.Cases) < 40 {
		t.Fatalf("%d cases, %v", len(table.Cases), err)
	}
	if !slices.Equal(table.Required, []secret.ID{gate.AuditSecretID, gate.AdminTokenID}) ||
		table.Floors[gate.AuditSecretID] != int(gate.AuditSecretMinTTL.Seconds()) || table.Floors[gate.AdminTokenID] != int(gate.AdminTokenMinTTL.Seconds()) {
		t.Errorf("required %v, floors %v", table.Required, table.Floors)
	}
	for _, c := range table.Cases {
		t.Run(c.Name, func(t *testing.T) {
			secrets := gate.Required(environment(c.Environment))
			for i, s := range secrets {
				if n, ok := c.MinTTL[s.Spec.ID]; ok {
					secrets[i].MinTTL = time.Duration(n) * time.Second
					if n == 0 {
						secrets[i].MinTTL = -1
					}
				}
			}
			found := gate.Check(t.Context(), now, secrets)
			want := []string{}
			for _, v := range c.Violations {
				want = append(want, v.ID+" "+v.Code)
			}
			slices.Sort(want)
			if got := codes(found); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			for _, v := range found {
				if v.Message == "" || v.Remedy == "" {
					t.Errorf("%q says too little", v)
				}
			}
		})
	}
}

// fill puts one version into a store.
func fill(t *testing.T, path, value string, notAfter time.Time) *storetest.Mem {
	t.Helper()
	m := storetest.NewMem(func() time.Time { return now })
	v, err := m.Put(t.Context(), path, store.Write{Token: "first", Value: secret.NewValue([]byte(value)), NotAfter: notAfter, Create: true})
	if err == nil {
		err = m.Promote(t.Context(), path, "", v.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// failing returns a store that answers with an error.
func failing(err error) *storetest.Mem {
	m := storetest.NewMem(nil)
	m.Fault = func(string, string) error { return err }
	return m
}

func TestCheck(t *testing.T) {
	t.Parallel()
	const strong = "Correct-Horse-Battery-1"
	hex := secret.Policy{Encoding: secret.EncodingHex, Bytes: 16}
	for name, c := range map[string]struct {
		secret gate.Secret
		want   secret.FindingCode
		says   string
	}{
		"a secret of another name has no floor":      {gate.Secret{Spec: secret.Spec{ID: "db"}, Reader: fill(t, "db", strong, now.Add(time.Second))}, "", ""},
		"its version has ended":                      {gate.Secret{Spec: secret.Spec{ID: "db"}, Reader: fill(t, "db", strong, now)}, "ttl", "2026-01-01T00:00:00Z"},
		"less is left than its own floor":            {gate.Secret{Spec: secret.Spec{ID: "db"}, Reader: fill(t, "db", strong, now.Add(time.Hour)), MinTTL: 2 * time.Hour}, "ttl", "1h0m0s"},
		"a floor of none":                            {gate.Secret{Spec: secret.Spec{ID: gate.AuditSecretID}, Reader: fill(t, string(gate.AuditSecretID), strong, now.Add(time.Second)), MinTTL: -1}, "", ""},
		"it is where its path says":                  {gate.Secret{Spec: secret.Spec{ID: "db", Path: "prod/db"}, Reader: fill(t, "prod/db", strong, time.Time{})}, "", ""},
		"it is not where its id says":                {gate.Secret{Spec: secret.Spec{ID: "db"}, Reader: fill(t, "prod/db", strong, time.Time{})}, "missing", "write a value"},
		"its own policy is kept":                     {gate.Secret{Spec: secret.Spec{ID: "db", Policy: &hex}, Reader: fill(t, "db", strings.Repeat("0f", 16), time.Time{})}, "", ""},
		"its own policy is broken":                   {gate.Secret{Spec: secret.Spec{ID: "db", Policy: &hex}, Reader: fill(t, "db", strong, time.Time{})}, "encoding", "hex"},
		"it is not configured":                       {gate.Secret{Spec: secret.Spec{ID: "db"}}, "missing", "under secrets:"},
		"the store refuses":                          {gate.Secret{Spec: secret.Spec{ID: "db"}, Reader: failing(fmt.Errorf("%w: no grant", store.ErrAccessDenied))}, "unreadable", "let the principal"},
		"the store is away":                          {gate.Secret{Spec: secret.Spec{ID: "db"}, Reader: failing(fmt.Errorf("%w: refused", store.ErrUnavailable))}, "unreadable", "try again"},
		"the store fails in a way that is not known": {gate.Secret{Spec: secret.Spec{ID: "db"}, Reader: failing(errors.New("odd\n\nURL: x"))}, "unreadable", "odd URL: x"},
	} {
		t.Run(name, func(t *testing.T) {
			found := gate.Check(t.Context(), now, []gate.Secret{c.secret})
			if c.want == "" {
				if len(found) > 0 {
					t.Errorf("violations %v, want none", found)
				}
				return
			}
			if len(found) != 1 || found[0].Code != c.want || !strings.Contains(gate.Line(found[0]), c.says) {
				t.Errorf("violations %v, want one with %q that says %q", found, c.want, c.says)
			}
		})
	}
}

// A store may give one lifetime for all versions of a secret, as the rotation
// rules of AWS do.
func TestTheStoresOwnLifetime(t *testing.T) {
	t.Parallel()
	m := fill(t, "db", "Correct-Horse-Battery-1", time.Time{})
	meta, err := m.Describe(t.Context(), "db")
	if err != nil {
		t.Fatal(err)
	}
	s := []gate.Secret{{Spec: secret.Spec{ID: "db"}, Reader: ruled{m, time.Hour}, MinTTL: 30 * time.Minute}}
	for left, want := range map[time.Duration]int{31 * time.Minute: 0, 30 * time.Minute: 1, -time.Second: 1} {
		if found := gate.Check(t.Context(), meta.Current().CreatedAt.Add(time.Hour-left), s); len(found) != want {
			t.Errorf("with %s left: violations %v, want %d", left, found, want)
		}
	}
}

// ruled is a store with rotation rules.
type ruled struct {
	*storetest.Mem
	ttl time.Duration
}

func (r ruled) Describe(ctx context.Context, path string) (secret.Metadata, error) {
	m, err := r.Mem.Describe(ctx, path)
	m.TTL = r.ttl
	return m, err
}

func TestTheSpecsDecide(t *testing.T) {
	t.Parallel()
	st, err := store.New("main", fill(t, "prod/db", "Correct-Horse-Battery-1", time.Time{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := gate.FromSpecs(stores, []secret.Spec{{ID: "db", Store: "main", Path: "prod/db"}, {ID: "api", Store: "main"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := codes(gate.Check(t.Context(), now, secrets)); !slices.Equal(got, []string{"api missing"}) {
		t.Errorf("violations %v", got)
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	r := fill(t, "other", "Correct-Horse-Battery-1", time.Time{})
	all := []gate.Secret{{Spec: secret.Spec{ID: "a", TTL: time.Hour}, Reader: r}, {Spec: secret.Spec{ID: "b"}, Reader: r, MinTTL: time.Minute}}
	show := func(secrets []gate.Secret) (out []string) {
		for _, s := range secrets {
			out = append(out, fmt.Sprint(s.Spec.ID, " ", s.Spec.TTL, " ", s.MinTTL, " ", s.Reader != nil))
		}
		return out
	}
	for name, c := range map[string]struct {
		other gate.Reader
		ids   []secret.ID
		want  []string
	}{
		"no id is all":                              {nil, nil, []string{"a 1h0m0s 0s true", "b 0s 1m0s true"}},
		"in the order of the ids":                   {nil, []secret.ID{"b", "a"}, []string{"b 0s 1m0s true", "a 1h0m0s 0s true"}},
		"one that is not among them":                {nil, []secret.ID{"a", "other"}, []string{"a 1h0m0s 0s true", "other 0s 0s false"}},
		"one that is not among them, with a reader": {r, []secret.ID{"other"}, []string{"other 0s 0s true"}},
	} {
		if got := show(gate.Select(all, c.other, c.ids)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestNothingOfAValueIsSaid(t *testing.T) {
	t.Parallel()
	const canary = "qzxvwk"
	for _, vars := range []map[string]string{
		{"TRADEPULSE_AUDIT_SECRET": canary, "TRADEPULSE_ADMIN_TOKEN_ID": canary, "TRADEPULSE_AUDIT_SECRET_ID_TTL_SECONDS": canary},
		{"TRADEPULSE_AUDIT_SECRET_ID": canary, "TRADEPULSE_ADMIN_TOKEN_ID": canary},
		{"TRADEPULSE_AUDIT_SECRET_ID": canary, canary: canary, canary + "_TTL_SECONDS": "7200"},
	} {
		found := gate.Check(t.Context(), now, gate.Required(environment(vars)))
		if len(found) < 2 || strings.Contains(fmt.Sprintf("%+v", found), canary) {
			t.Errorf("%d violations, or one shows a value", len(found))
		}
	}
}

// TestRun runs the tests of a package that has the gate in front of them.
func TestRun(t *testing.T) {
	t.Parallel()
	test := func(vars ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "./testdata/service")
		cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "TRADEPULSE_") })
		cmd.Env = append(cmd.Env, vars...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := test("TRADEPULSE_AUDIT_SECRET=Audit-Key-For-Tests-1", "TRADEPULSE_ADMIN_TOKEN=Admin-Token-For-Tests-1")
	if err != nil || !strings.Contains(out, "the service's test ran") {
		t.Errorf("with secrets that are fit: %v\n%s", err, out)
	}
	out, err = test("TRADEPULSE_ADMIN_TOKEN=weak")
	if err == nil || strings.Contains(out, "the service's test ran") {
		t.Errorf("the tests ran without their secrets: %v\n%s", err, out)
	}
	for _, want := range []string{"TRADEPULSE_AUDIT_SECRET_ID: missing: ", "set TRADEPULSE_AUDIT_SECRET\n", "TRADEPULSE_ADMIN_TOKEN_ID: upper: ", "add an upper-case letter", "2 of 2 secrets"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
}

// tests are tests that note that they ran.
type tests struct{ ran bool }

func (m *tests) Run() int { m.ran = true; return 0 }

func TestRunWantsSomethingToCheck(t *testing.T) {
	t.Parallel()
	var m tests
	if code := gate.Run(&m); code != 1 || m.ran {
		t.Errorf("exit code %d, ran %t", code, m.ran)
	}
}
