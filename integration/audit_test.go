package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/client/setup/vault"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	vaultstore "github.com/tradepulse/rotator/pkg/store/vault"
)

// auditProcess is a process of a service that writes records until stop.
type auditProcess struct {
	c    *setup.Client
	keys *client.Keyring
	log  *client.AuditLogger
	file *os.File
}

// startAuditProcess continues the log at path.
func startAuditProcess(t *testing.T, path string, vars map[string]string) *auditProcess {
	t.Helper()
	c, err := setup.Open(t.Context(), setup.Options{
		Service: "tradepulse-api", IDs: []secret.ID{auditID}, Providers: []setup.Provider{vault.Provider()},
		Lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &auditProcess{c: c}
	if p.keys, err = client.NewKeyring(t.Context(), c.Manager, auditID, client.KeysVerifyHistory, 0); err != nil {
		t.Fatal(err)
	}
	if p.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		t.Fatal(err)
	}
	if p.log, err = client.NewAuditLogger(t.Context(), c.Manager, p.keys, p.file); err != nil {
		t.Fatal(err)
	}
	if _, err := p.log.ResumeFrom(t.Context(), p.file); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *auditProcess) write(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		if err := p.log.Log("order.placed", map[string]string{"order": fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *auditProcess) stop(t *testing.T) {
	t.Helper()
	p.log.Close()
	p.keys.Close()
	if err := p.file.Close(); err != nil {
		t.Error(err)
	}
	if err := p.c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAuditVerify verifies, as an operator does, a log that two processes wrote
// one after the other while the key was rotated, from the versions that the store
// has kept.
func TestAuditVerify(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	d, err := vaultstore.Open(vaultstore.Config{Address: bao.URL, Auth: vaultstore.Token{Token: bao.Root}})
	if err != nil {
		t.Fatal(err)
	}
	var current secret.VersionID
	rotate := func(value string) {
		t.Helper()
		current = rotateKept(t, d, "audit-key", current, value)
	}
	dir := t.TempDir()
	log := filepath.Join(dir, "audit.log")
	vars := map[string]string{
		"ROTATOR_STORE": "vault", "ROTATOR_VAULT_ADDRESS": bao.URL, "VAULT_TOKEN": bao.Root, "ROTATOR_POLL_INTERVAL": "20ms",
		string(auditID): "audit-key",
	}
	rotate("Audit-Key-Number-1!")
	p := startAuditProcess(t, log, vars)
	p.write(t, 3)
	rotate("Audit-Key-Number-2!")
	signsWith(t, p, current)
	p.write(t, 2)
	p.stop(t)
	rotate("Audit-Key-Number-3!")
	p = startAuditProcess(t, log, vars)
	p.write(t, 2)
	p.stop(t)

	config := filepath.Join(dir, "rotator.yaml")
	text := fmt.Sprintf("node: {data_dir: %q}\nstores: {main: {type: vault, address: %q}}\nsecrets: [{id: %s, path: audit-key, retire: keep, ttl: 30d, services: [tradepulse-api]}]\n", dir, bao.URL, auditID)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	verify := func(args ...string) (string, int) {
		t.Helper()
		p := startWith(t, []string{"VAULT_TOKEN=" + bao.Root}, append([]string{"audit", "verify", "--config", config}, args...)...)
		code := p.wait(t)
		return p.out.String(), code
	}
	out, code := verify(log)
	if code != 0 || !strings.Contains(out, "ok, 9 records; the last is 9:") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	lines := strings.SplitAfter(readFile(t, log), "\n")
	changed := filepath.Join(dir, "changed.log")
	writeFile(t, changed, strings.Join(lines[:4], "")+strings.Replace(lines[4], "order.placed", "order.dropped", 1)+lines[5])
	out, code = verify(changed, "--json")
	var v struct {
		Records int
		Bad     struct {
			Line   int
			Reason string
		}
	}
	if code != 1 || json.NewDecoder(strings.NewReader(out)).Decode(&v) != nil || v.Records != 4 || v.Bad.Line != 5 || !strings.Contains(v.Bad.Reason, "changed") {
		t.Errorf("exit %d: %+v\n%s", code, v, out)
	}
	if !strings.Contains(out, changed+": audit: line 5: ") {
		t.Errorf("the first bad record is not named:\n%s", out)
	}
	writeFile(t, changed, strings.Join(lines[2:], ""))
	if out, code = verify(changed); code != 1 || !strings.Contains(out, "line 1: it has number 3 where the first record was expected") {
		t.Errorf("without its beginning: exit %d:\n%s", code, out)
	}
	var second client.AuditRecord
	if err := json.Unmarshal([]byte(lines[1]), &second); err != nil {
		t.Fatal(err)
	}
	if out, code = verify(changed, "--after", "2:"+second.MAC); code != 0 || !strings.Contains(out, "ok, 7 records") {
		t.Errorf("after the second record: exit %d:\n%s", code, out)
	}
	anchor := fmt.Sprintf("%d:%s", 9, strings.Repeat("0", 64))
	if out, code = verify(log, "--anchor", "2:"+second.MAC); code != 0 {
		t.Errorf("with an anchor: exit %d:\n%s", code, out)
	}
	if out, code = verify(log, "--anchor", anchor); code != 1 || !strings.Contains(out, "line 9: it is not the record") {
		t.Errorf("with the anchor of another record: exit %d:\n%s", code, out)
	}
	writeFile(t, changed, lines[0])
	if out, code = verify(changed, "--anchor", "2:"+second.MAC); code != 1 || !strings.Contains(out, "record 2, which was anchored, is not in it") {
		t.Errorf("with its end cut off: exit %d:\n%s", code, out)
	}
	for _, usage := range [][]string{{log, "--after", "soon"}, {log, "--anchor", "9"}, {log, "--secret", "NOT_CONFIGURED"}, {filepath.Join(dir, "none.log")}, {}} {
		if out, code = verify(usage...); code != 2 {
			t.Errorf("%q: exit %d:\n%s", usage, code, out)
		}
	}
}

// rotateKept makes a value current, and keeps the one before for verification.
func rotateKept(t *testing.T, d store.Driver, path string, from secret.VersionID, value string) secret.VersionID {
	t.Helper()
	ctx := t.Context()
	v, err := d.Put(ctx, path, store.Write{Token: secret.NewToken(auditID, from, value, 0), From: from, Value: secret.NewValue([]byte(value)), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Promote(ctx, path, from, v.ID); err != nil {
		t.Fatal(err)
	}
	if from != "" {
		if err := d.Retire(ctx, path, from, secret.RetireKeep); err != nil {
			t.Fatal(err)
		}
	}
	m, err := d.Describe(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	return m.Current().ID
}

func signsWith(t *testing.T, p *auditProcess, v secret.VersionID) {
	t.Helper()
	waittest.Until(t, fmt.Sprintf("the process signs with %s", v), func() error {
		got, err := p.keys.Current(t.Context())
		if err == nil && got.ID != v {
			err = fmt.Errorf("it signs with %s", got.ID)
		}
		return err
	})
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestAuditVerifyInDevelopment: without a configuration the key is in the
// environment, and - is standard input.
func TestAuditVerifyInDevelopment(t *testing.T) {
	t.Parallel()
	log := filepath.Join(t.TempDir(), "audit.log")
	vars := map[string]string{"TRADEPULSE_AUDIT_SECRET": "Audit-Key-For-Tests-1"}
	p := startAuditProcess(t, log, vars)
	p.write(t, 3)
	p.stop(t)
	in, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd := &program{cmd: exec.Command(binary(t, "rotator"), "audit", "verify", "-"), out: &output{}, done: make(chan struct{})}
	cmd.cmd.Env, cmd.cmd.Stdin = append(os.Environ(), "ROTATOR_CONFIG=", "TRADEPULSE_AUDIT_SECRET="+vars["TRADEPULSE_AUDIT_SECRET"]), in
	cmd.run(t)
	if code := cmd.wait(t); code != 0 || !strings.Contains(cmd.out.String(), "-: ok, 3 records") {
		t.Errorf("exit %d:\n%s", code, cmd.out)
	}
}
