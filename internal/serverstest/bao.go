package serverstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Bao is a running OpenBao server with a KV version 2 engine under secret/.
type Bao struct {
	// URL is the address of the server, Root a token that may do everything.
	URL, Root string

	config  string // "" in dev mode
	unseal  string
	process *process
}

// StartBao starts a server in dev mode: in memory, unsealed.
func StartBao(t testing.TB) *Bao {
	t.Helper()
	return startDev(t)
}

func startDev(t testing.TB, more ...string) *Bao {
	t.Helper()
	port := FreePort(t)
	b := &Bao{URL: loopback(port), Root: "root"}
	args := []string{"server", "-dev", "-dev-root-token-id=" + b.Root, fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", port), "-dev-no-store-token"}
	cmd := exec.Command(Tool(t, "bao"), append(args, more...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	b.process = run(t, cmd)
	b.awaitReady()
	b.awaitKV("")
	return b
}

// StartAuditedBao is StartBao with an audit device that writes to a socket at an
// address of loopback, where something listens already, and one that writes nowhere:
// requests do not fail when the socket does.
func StartAuditedBao(t testing.TB, address string) *Bao {
	t.Helper()
	config := filepath.Join(t.TempDir(), "audit.hcl")
	text := fmt.Sprintf("audit \"file\" \"nowhere\" {\n  options {\n    file_path = \"discard\"\n  }\n}\naudit \"socket\" \"rotator\" {\n  options {\n    address = %q\n  }\n}\n", address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return startDev(t, "-config="+config)
}

// StartSealedBao starts a server whose data are in files, initialises and
// unseals it.
func StartSealedBao(t testing.TB) *Bao {
	t.Helper()
	port, clusterPort, dir := FreePort(t), FreePort(t), t.TempDir()
	b := &Bao{URL: loopback(port), config: filepath.Join(dir, "bao.hcl")}
	text := fmt.Sprintf(`storage "raft" {
  path    = %q
  node_id = "one"
}
listener "tcp" {
  address         = "127.0.0.1:%d"
  cluster_address = "127.0.0.1:%d"
  tls_disable     = true
}
api_addr      = %q
cluster_addr  = "http://127.0.0.1:%d"
disable_mlock = true
`, filepath.Join(dir, "data"), port, clusterPort, b.URL, clusterPort)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start(t)
	var keys struct {
		Keys []string `json:"keys_base64"`
		Root string   `json:"root_token"`
	}
	b.Do(t, http.MethodPut, "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1}, &keys)
	b.Root, b.unseal = keys.Root, keys.Keys[0]
	b.Unseal(t)
	b.MountKV(t, "")
	return b
}

// MountKV mounts a KV version 2 engine under secret/ in a namespace, "" for none,
// and waits until it works: it first turns itself into one of version 2.
func (b *Bao) MountKV(t testing.TB, namespace string) {
	t.Helper()
	b.Do(t, http.MethodPost, path.Join(namespace, "sys/mounts/secret"), map[string]any{"type": "kv", "options": map[string]string{"version": "2"}}, nil)
	b.awaitKV(namespace)
}

func (b *Bao) awaitKV(namespace string) {
	b.process.awaitAs(b.Root, b.URL+"/v1/"+path.Join(namespace, "secret/config"), func(status int) bool { return status == http.StatusOK })
}

func (b *Bao) start(t testing.TB) {
	t.Helper()
	b.process = run(t, exec.Command(Tool(t, "bao"), "server", "-config", b.config))
	b.process.await(b.URL+"/v1/sys/health", func(int) bool { return true })
}

// Restart kills a server with files and starts it again, sealed.
func (b *Bao) Restart(t testing.TB) {
	t.Helper()
	b.process.kill()
	b.start(t)
}

// Unseal unseals a server with files and waits until it works.
func (b *Bao) Unseal(t testing.TB) {
	t.Helper()
	b.Do(t, http.MethodPut, "sys/unseal", map[string]any{"key": b.unseal}, nil)
	b.awaitReady()
}

// Seal seals the server.
func (b *Bao) Seal(t testing.TB) {
	t.Helper()
	b.Do(t, http.MethodPut, "sys/seal", nil, nil)
}

func (b *Bao) awaitReady() {
	b.process.await(b.URL+"/v1/sys/health", func(status int) bool { return status == http.StatusOK })
}

// Do calls the server as root and decodes the answer into out unless that is
// nil.
func (b *Bao) Do(t testing.TB, method, path string, body, out any) {
	t.Helper()
	var in bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&in).Encode(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, b.URL+"/v1/"+path, &in)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", b.Root)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, text, err)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatal(err)
		}
	}
}

// Revoke ends all tokens that were made by a path, such as auth/approle/login.
func (b *Bao) Revoke(t testing.TB, by string) {
	t.Helper()
	var tokens struct{ Data struct{ Keys []string } }
	b.Do(t, "LIST", "auth/token/accessors", nil, &tokens)
	for _, a := range tokens.Data.Keys {
		var one struct{ Data struct{ Path string } }
		b.Do(t, http.MethodPost, "auth/token/lookup-accessor", map[string]any{"accessor": a}, &one)
		if one.Data.Path == by {
			b.Do(t, http.MethodPost, "auth/token/revoke-accessor", map[string]any{"accessor": a}, nil)
		}
	}
}

// Role is what an AppRole logs in with.
type Role struct{ ID, Secret string }

// AppRole makes a role whose tokens have one policy, and live for ttl.
func (b *Bao) AppRole(t testing.TB, name, policy, ttl string) Role {
	t.Helper()
	var methods struct {
		Data map[string]any `json:"data"`
	}
	b.Do(t, http.MethodGet, "sys/auth", nil, &methods)
	if _, ok := methods.Data["approle/"]; !ok {
		b.Do(t, http.MethodPost, "sys/auth/approle", map[string]any{"type": "approle"}, nil)
	}
	b.Do(t, http.MethodPut, "sys/policies/acl/"+name, map[string]any{"policy": policy}, nil)
	b.Do(t, http.MethodPost, "auth/approle/role/"+name, map[string]any{"token_policies": []string{name}, "token_ttl": ttl, "token_max_ttl": ttl}, nil)
	var id, secret struct {
		Data map[string]any `json:"data"`
	}
	b.Do(t, http.MethodGet, "auth/approle/role/"+name+"/role-id", nil, &id)
	b.Do(t, http.MethodPost, "auth/approle/role/"+name+"/secret-id", nil, &secret)
	return Role{ID: text(id.Data["role_id"]), Secret: text(secret.Data["secret_id"])}
}

func text(v any) string { return strings.TrimSpace(fmt.Sprint(v)) }
