package env_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/env"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

func open(vars map[string]string) *env.Driver {
	return env.Open(env.Config{
		Paths:   []string{"TRADEPULSE_AUDIT_SECRET_ID", "TRADEPULSE_ADMIN_TOKEN_ID", "PLAIN"},
		Lookup:  func(k string) (string, bool) { v, ok := vars[k]; return v, ok },
		Started: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	})
}

func TestIdentifiersMapToVariables(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		vars map[string]string
		path string
		want string
	}{
		"the variable without _ID holds the value":       {map[string]string{"TRADEPULSE_AUDIT_SECRET": "the value"}, "TRADEPULSE_AUDIT_SECRET_ID", "the value"},
		"an identifier of another store changes nothing": {map[string]string{"TRADEPULSE_AUDIT_SECRET": "the value", "TRADEPULSE_AUDIT_SECRET_ID": "prod/audit"}, "TRADEPULSE_AUDIT_SECRET_ID", "the value"},
		"an identifier names a variable":                 {map[string]string{"TRADEPULSE_AUDIT_SECRET": "other", "TRADEPULSE_AUDIT_SECRET_ID": "KEY", "KEY": "named"}, "TRADEPULSE_AUDIT_SECRET_ID", "named"},
		"one that names an identifier names nothing":     {map[string]string{"TRADEPULSE_AUDIT_SECRET": "x", "TRADEPULSE_AUDIT_SECRET_ID": "OTHER_ID", "OTHER_ID": "prod/other"}, "TRADEPULSE_AUDIT_SECRET_ID", "x"},
		"one that names itself names nothing":            {map[string]string{"TRADEPULSE_AUDIT_SECRET": "x", "TRADEPULSE_AUDIT_SECRET_ID": "TRADEPULSE_AUDIT_SECRET_ID"}, "TRADEPULSE_AUDIT_SECRET_ID", "x"},
		"another path is its variable":                   {map[string]string{"PLAIN": "x"}, "PLAIN", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			_, v, err := open(c.vars).Get(t.Context(), c.path, store.Selector{})
			if err != nil || string(v.Reveal()) != c.want {
				t.Errorf("err %v, the value is right: %t", err, string(v.Reveal()) == c.want)
			}
		})
	}
}

// TestTheTextOfAnIdentifierIsNoValue: it is an error that says what to set, and
// shows none of the text.
func TestTheTextOfAnIdentifierIsNoValue(t *testing.T) {
	t.Parallel()
	const id = "TRADEPULSE_ADMIN_TOKEN_ID"
	const astray = id + " is set and names no variable that has a value, and TRADEPULSE_ADMIN_TOKEN is not set"
	for name, c := range map[string]struct {
		vars            map[string]string
		message, remedy string
	}{
		"nothing is set":                 {nil, "neither TRADEPULSE_ADMIN_TOKEN nor " + id + " is set", "set TRADEPULSE_ADMIN_TOKEN"},
		"it is set to nothing":           {map[string]string{id: ""}, "neither TRADEPULSE_ADMIN_TOKEN nor " + id + " is set", "set TRADEPULSE_ADMIN_TOKEN"},
		"it is a path":                   {map[string]string{id: "prod/Canary"}, astray, "set TRADEPULSE_ADMIN_TOKEN, or ask elsewhere"},
		"it is a value":                  {map[string]string{id: "Canary-Token-1"}, astray, "set TRADEPULSE_ADMIN_TOKEN, or ask elsewhere"},
		"its variable is set to nothing": {map[string]string{id: "CanaryKey", "CanaryKey": ""}, astray, "set TRADEPULSE_ADMIN_TOKEN, or ask elsewhere"},
		"it names itself":                {map[string]string{id: id}, astray, "set TRADEPULSE_ADMIN_TOKEN, or ask elsewhere"},
		"it names another identifier":    {map[string]string{id: "CANARY_ID", "CANARY_ID": "KEY", "KEY": "x"}, astray, "set TRADEPULSE_ADMIN_TOKEN, or ask elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			d := env.Open(env.Config{Elsewhere: "ask elsewhere", Lookup: func(k string) (string, bool) { v, ok := c.vars[k]; return v, ok }})
			_, v, err := d.Get(t.Context(), id, store.Selector{})
			if !errors.Is(err, store.ErrNotFound) || v.Len() != 0 {
				t.Fatalf("err %v and %d bytes, want not found", err, v.Len())
			}
			if got := remedy(err); err.Error() != "not found: "+c.message || got != c.remedy {
				t.Errorf("%v; %s", err, got)
			}
		})
	}
	_, _, err := open(map[string]string{id: "prod/admin"}).Get(t.Context(), id, store.Selector{})
	if got := remedy(err); got != "set TRADEPULSE_ADMIN_TOKEN, or let "+id+" name a variable that is set" {
		t.Errorf("err %v; %s", err, got)
	}
}

// remedy returns what an error says to do.
func remedy(err error) string {
	own, ok := errors.AsType[interface {
		error
		Remedy() string
	}](err)
	if !ok {
		return ""
	}
	return own.Remedy()
}

func TestTTLSeconds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"3600": time.Hour, "0": 0, "-1": 0, "soon": 0, "99999999999999": 0, "": 0, "1e3": 0, "+3600": 0} {
		d := open(map[string]string{"PLAIN": "x", "PLAIN_TTL_SECONDS": text})
		m, err := d.Describe(t.Context(), "PLAIN")
		if want == 0 {
			if !errors.Is(err, store.ErrLifetime) || !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), "PLAIN_TTL_SECONDS") {
				t.Errorf("%q: err %v, want one that names the variable", text, err)
			}
			continue
		}
		if err != nil || m.TTL != want || !m.Current().NotAfter.Equal(time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC)) {
			t.Errorf("%q: TTL %s, not after %s, err %v", text, m.TTL, m.Current().NotAfter, err)
		}
	}
}

func TestTTLBesideTheValue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		vars map[string]string
		want time.Duration
	}{
		"the identifier's goes first":        {map[string]string{"KEY_TTL_SECONDS": "60", "K_ID_TTL_SECONDS": "7200"}, 2 * time.Hour},
		"else that of the value's variable":  {map[string]string{"KEY_TTL_SECONDS": "60", "K_TTL_SECONDS": "5"}, time.Minute},
		"that of another variable is no end": {map[string]string{"K_TTL_SECONDS": "60"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c.vars["K_ID"], c.vars["KEY"] = "KEY", "value"
			if m, err := open(c.vars).Describe(t.Context(), "K_ID"); err != nil || m.TTL != c.want {
				t.Errorf("TTL %s, err %v, want %s", m.TTL, err, c.want)
			}
		})
	}
}

func TestAChangedVariableIsANewVersion(t *testing.T) {
	t.Parallel()
	vars := map[string]string{"PLAIN": "one"}
	d := open(vars)
	var ids []secret.VersionID
	for _, v := range []string{"one", "one", "two"} {
		vars["PLAIN"] = v
		m, err := d.Describe(t.Context(), "PLAIN")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Current().ID)
	}
	if ids[0] != ids[1] || ids[1] == ids[2] {
		t.Errorf("versions %v", ids)
	}
}

func TestItRefusesToRotate(t *testing.T) {
	t.Parallel()
	d := open(map[string]string{"PLAIN": "x"})
	_, put := d.Put(t.Context(), "PLAIN", store.Write{})
	for _, err := range []error{put, d.Promote(t.Context(), "PLAIN", "", "x"), d.Retire(t.Context(), "PLAIN", "x", "")} {
		if !errors.Is(err, store.ErrReadOnly) || !strings.Contains(err.Error(), "move the secret") {
			t.Errorf("err %v, want a refusal that says what to do", err)
		}
	}
}

func TestListLeavesOutWhatIsNotSet(t *testing.T) {
	t.Parallel()
	n := 0
	for m, err := range open(map[string]string{"PLAIN": "x"}).List(t.Context()) {
		if err != nil || m.Path != "PLAIN" {
			t.Errorf("listed %q, err %v", m.Path, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("listed %d, want 1", n)
	}
}

// TestConformance: the suite seeds variables in place of secrets.
func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) storetest.Harness {
		vars := map[string]string{}
		return storetest.Harness{
			Driver: env.Open(env.Config{Lookup: func(k string) (string, bool) { v, ok := vars[k]; return v, ok }}),
			Seed:   func(_ *testing.T, path string, v secret.Value) { vars[path] = string(v.Reveal()) },
		}
	})
}
