package vault_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"encoding/pem"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// asked is a server that notes what it was asked with.
type asked struct{ token, namespace string }

func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.token, a.namespace = r.Header.Get("X-Vault-Token"), r.Header.Get("X-Vault-Namespace")
	http.Error(w, `{"errors":[]}`, http.StatusNotFound)
}

func lookup(vars map[string]string) vault.Lookup {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

// configured opens a driver as a program does that is configured by vars alone.
func configured(t *testing.T, vars map[string]string) (*vault.Driver, error) {
	t.Helper()
	cfg, err := vault.Access{Method: "token"}.Config(lookup(vars))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Retries = -1
	return vault.Open(cfg)
}

// TestVariablesAsTheCommandsReadThem: BAO_ wins, an empty one too, and white space
// around a value does not count.
func TestVariablesAsTheCommandsReadThem(t *testing.T) {
	t.Parallel()
	var got asked
	server := httptest.NewServer(&got)
	t.Cleanup(server.Close)
	for name, c := range map[string]struct {
		vars map[string]string
		want asked
	}{
		"BAO_ alone":              {map[string]string{"BAO_ADDR": server.URL, "BAO_TOKEN": "b", "BAO_NAMESPACE": "nb"}, asked{"b", "nb"}},
		"VAULT_ alone":            {map[string]string{"VAULT_ADDR": server.URL, "VAULT_TOKEN": "v", "VAULT_NAMESPACE": "nv"}, asked{"v", "nv"}},
		"BAO_ wins":               {map[string]string{"BAO_ADDR": server.URL, "VAULT_ADDR": "http://127.0.0.1:1", "BAO_TOKEN": "b", "VAULT_TOKEN": "v", "BAO_NAMESPACE": "nb", "VAULT_NAMESPACE": "nv"}, asked{"b", "nb"}},
		"an empty one wins":       {map[string]string{"VAULT_ADDR": server.URL, "VAULT_TOKEN": "v", "BAO_NAMESPACE": "", "VAULT_NAMESPACE": "nv"}, asked{"v", ""}},
		"an empty token does not": {map[string]string{"VAULT_ADDR": server.URL, "VAULT_TOKEN": "v", "BAO_TOKEN": ""}, asked{"v", ""}},
		"line breaks":             {map[string]string{"VAULT_ADDR": server.URL + "\n", "VAULT_TOKEN": "v\r\n", "BAO_NAMESPACE": " nb\n"}, asked{"v", "nb"}},
		"an agent":                {map[string]string{"BAO_AGENT_ADDR": server.URL, "BAO_ADDR": "http://127.0.0.1:1", "BAO_TOKEN": "b"}, asked{"b", ""}},
	} {
		got = asked{}
		d, err := configured(t, c.vars)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, _, err := d.Get(t.Context(), "a", store.Selector{}); err == nil || got != c.want {
			t.Errorf("%s: asked with %+v, want %+v (%v)", name, got, c.want, err)
		}
	}
}

func TestVariablesOfTLS(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(&asked{})
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		vars     map[string]string
		believed bool
	}{
		"nothing":                   {map[string]string{}, false},
		"BAO_CACERT":                {map[string]string{"BAO_CACERT": ca}, true},
		"VAULT_CACERT":              {map[string]string{"VAULT_CACERT": ca}, true},
		"BAO_CACERT_BYTES":          {map[string]string{"BAO_CACERT_BYTES": string(text)}, true},
		"BAO_CAPATH":                {map[string]string{"BAO_CAPATH": filepath.Dir(ca)}, true},
		"BAO_SKIP_VERIFY":           {map[string]string{"BAO_SKIP_VERIFY": "true"}, true},
		"BAO_SKIP_VERIFY=false":     {map[string]string{"BAO_SKIP_VERIFY": "false", "VAULT_SKIP_VERIFY": "true"}, false},
		"another name":              {map[string]string{"BAO_CACERT": ca, "BAO_TLS_SERVER_NAME": "example.com"}, true},
		"a name that is not there":  {map[string]string{"BAO_CACERT": ca, "BAO_TLS_SERVER_NAME": "other.invalid"}, false},
		"VAULT_TLS_SERVER_NAME too": {map[string]string{"BAO_CACERT": ca, "VAULT_TLS_SERVER_NAME": "other.invalid"}, false},
	} {
		c.vars["BAO_ADDR"] = server.URL
		d, err := configured(t, c.vars)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, _, err = d.Get(t.Context(), "a", store.Selector{})
		if believed := errors.Is(err, store.ErrInvalid) && !errors.Is(err, store.ErrUnavailable); believed != c.believed {
			t.Errorf("%s: %v, want the server believed: %t", name, err, c.believed)
		}
	}
}

func TestVariablesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"BAO_TOKEN": "a\x00b", "VAULT_ADDR": "http://a\nb", "BAO_SKIP_VERIFY": "maybe", "BAO_SRV_LOOKUP": "true", "BAO_CLIENT_CERT": "/nowhere.pem",
	} {
		want := name
		if name == "BAO_CLIENT_CERT" {
			want = "TLS"
		}
		if _, err := configured(t, map[string]string{name: value}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), value) && name != "BAO_SRV_LOOKUP" {
			t.Errorf("%s: %v, want an error that names it and does not quote it", name, err)
		}
	}
}

// TestNamespaceOfOpenBao reads the secret of the namespace, and not that of the
// same path outside of it.
func TestNamespaceOfOpenBao(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	bao.Do(t, http.MethodPost, "sys/namespaces/team", nil, nil)
	bao.MountKV(t, "team")
	cfg := asRoot(bao)
	outside := open(t, cfg)
	rotate(t, outside, "same", 1)
	rotate(t, outside, "same", 2)
	cfg.Namespace = "team"
	rotate(t, open(t, cfg), "same", 1)
	d, err := configured(t, map[string]string{"BAO_ADDR": bao.URL, "BAO_TOKEN": bao.Root, "BAO_NAMESPACE": "team"})
	if err != nil {
		t.Fatal(err)
	}
	if v, _, err := d.Get(t.Context(), "same", store.Selector{}); err != nil || v.ID != "1" {
		t.Errorf("read version %s, err %v; want version 1, which is in the namespace", v.ID, err)
	}
}
