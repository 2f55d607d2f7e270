package vault_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// TestServerWithFiles takes a server that keeps its data through what happens to
// one: killed, sealed, unsealed, its tokens revoked. The driver logs in by
// AppRole under the policy of the deployment, and needs no help.
func TestServerWithFiles(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartSealedBao(t)
	role := bao.AppRole(t, "rotator", policy(t), "1h")
	d := open(t, vault.Config{Address: bao.URL, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
	rotate(t, d, "kept", 1)

	v, err := d.Put(t.Context(), "kept", write("kept", 2, "1"))
	if err != nil {
		t.Fatal(err)
	}
	bao.Restart(t)
	if err := d.Promote(t.Context(), "kept", "1", v.ID); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("sealed after a restart: %v, want unavailable", err)
	}
	bao.Unseal(t)
	if err := d.Promote(t.Context(), "kept", "1", v.ID); err != nil {
		t.Errorf("unsealed: %v", err)
	}

	bao.Seal(t)
	if _, err := d.Describe(t.Context(), "kept"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("sealed: %v, want unavailable", err)
	}
	bao.Unseal(t)

	bao.Revoke(t, "auth/approle/login")
	rotate(t, d, "kept", 3)
	m, err := d.Describe(t.Context(), "kept")
	if err != nil || m.Current().ID != "3" || len(m.Versions) != 3 {
		t.Errorf("in the end there are %+v, err %v", m.Versions, err)
	}
}

// TestTokenIsReplacedBeforeItEnds uses tokens that live for a second, which is
// shorter than what is done with them.
func TestTokenIsReplacedBeforeItEnds(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	role := bao.AppRole(t, "short", policy(t), "1s")
	w := &wire{}
	d := open(t, vault.Config{Address: bao.URL, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}, Transport: w})
	logins := func() (n int) {
		for _, c := range w.take() {
			if c == "PUT /v1/auth/approle/login" {
				n++
			}
		}
		return n
	}
	total := 0
	for n := 1; total < 3; n++ {
		rotate(t, d, "short", n)
		total += logins()
	}
}

// TestEveryCapabilityIsNeeded takes each capability of the deployment's policy
// away in turn and runs all that the driver does.
func TestEveryCapabilityIsNeeded(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	everything := func(name, policy string) error {
		role := bao.AppRole(t, name, policy, "1h")
		d := open(t, vault.Config{Address: bao.URL, Prefix: "p/" + name, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
		return work(t, d)
	}
	if err := everything("all", policy(t)); err != nil {
		t.Fatalf("the policy is not enough: %v", err)
	}
	for name, lacks := range map[string][2]string{
		"create":         {"secret/data/*", "create"},
		"update":         {"secret/data/*", "update"},
		"read":           {"secret/data/*", "read"},
		"metadata":       {"secret/metadata/*", "read"},
		"list":           {"secret/metadata/*", "list"},
		"state-read":     {"secret/data/rotator-state/*", "read"},
		"state-update":   {"secret/data/rotator-state/*", "update"},
		"state-settings": {"secret/metadata/rotator-state/*", "create"},
		"delete":         {"secret/delete/*", "update"},
		"destroy":        {"secret/destroy/*", "update"},
	} {
		if err := everything(name, drop(t, lacks[0], lacks[1])); !errors.Is(err, store.ErrAccessDenied) {
			t.Errorf("without %s on %s: %v, want access denied", lacks[1], lacks[0], err)
		}
	}
}

// TestInterruptedFirstWrite: the writer of the settings of a secret's state died
// before the state was written.
func TestInterruptedFirstWrite(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	bao.Do(t, http.MethodPost, "secret/metadata/rotator-state/half", map[string]any{"max_versions": 1}, nil)
	for _, c := range []struct{ name, policy string }{
		{"lacks-update", drop(t, "secret/metadata/rotator-state/*", "update")},
		{"all", policy(t)},
	} {
		role := bao.AppRole(t, c.name, c.policy, "1h")
		d := open(t, vault.Config{Address: bao.URL, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
		_, err := d.Put(t.Context(), "half", write("half", 1, ""))
		if denied := errors.Is(err, store.ErrAccessDenied); denied != (c.name != "all") || err != nil && !denied {
			t.Errorf("under the policy %s: %v", c.name, err)
		}
	}
}

// work does what programs do with the driver, until something fails.
func work(t *testing.T, d store.Driver) error {
	t.Helper()
	from := secret.VersionID("")
	for n := 1; n < 4; n++ {
		if _, err := d.Describe(t.Context(), "one"); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		v, err := d.Put(t.Context(), "one", write("one", n, from))
		if err != nil {
			return err
		}
		if err := d.Promote(t.Context(), "one", from, v.ID); err != nil {
			return err
		}
		from = v.ID
	}
	for _, err := range d.List(t.Context()) {
		if err != nil {
			return err
		}
	}
	if _, _, err := d.Get(t.Context(), "one", store.Selector{}); err != nil {
		return err
	}
	if err := d.Retire(t.Context(), "one", "1", secret.RetireDelete); err != nil {
		return err
	}
	return d.Retire(t.Context(), "one", "2", secret.RetireDestroy)
}

// TestStrictMount holds the driver to the suite on a server with files, logged in
// by AppRole under the policy of the deployment, on a mount that takes no write
// without check-and-set and keeps fewer versions than a secret ever has.
func TestStrictMount(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartSealedBao(t)
	bao.Do(t, http.MethodPost, "secret/config", map[string]any{"cas_required": true, "max_versions": 2}, nil)
	role := bao.AppRole(t, "rotator", policy(t), "1h")
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		t.Helper()
		another := func(t *testing.T) store.Driver {
			t.Helper()
			return open(t, vault.Config{Address: bao.URL, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
		}
		return storetest.Harness{
			Driver: another(t), Another: another,
			Tag:     tagger(bao),
			Differs: map[string]string{"feature KeepsRetired": "the mount keeps two versions of a secret", "feature DeletesAll": "the policy of the programs does not let them delete a secret, which an operator does"},
			ListOf:  20,
		}
	})
}

// TestShortHistory rotates a secret of which the server keeps one version, the
// current one.
func TestShortHistory(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	bao.Do(t, http.MethodPost, "secret/config", map[string]any{"max_versions": 1}, nil)
	d := open(t, asRoot(bao))
	for n := 1; n < 40; n++ {
		rotate(t, d, "short", n)
	}
	m, err := d.Describe(t.Context(), "short")
	if err != nil || m.Current().ID != "39" || m.Current().Token != write("short", 39, "").Token || len(m.Versions) != 1 {
		t.Errorf("%+v, err %v; want version 39 alone", m.Versions, err)
	}
	if v, err := d.Put(t.Context(), "short", write("short", 39, "38")); err != nil || v.ID != "39" {
		t.Errorf("the same put again: %s, %v", v.ID, err)
	}
	if err := d.Retire(t.Context(), "short", "38", secret.RetireDelete); err != nil {
		t.Errorf("retire what the server has dropped: %v", err)
	}
}

// TestNamespace works in a namespace, and leaves nothing outside of it.
func TestNamespace(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	bao.Do(t, http.MethodPost, "sys/namespaces/team", nil, nil)
	bao.MountKV(t, "team")
	cfg := asRoot(bao)
	cfg.Namespace = "team"
	d := open(t, cfg)
	for n := 1; n < 4; n++ {
		rotate(t, d, "inside", n)
	}
	for _, c := range []struct {
		d    store.Driver
		want int
	}{{d, 1}, {open(t, asRoot(bao)), 0}} {
		n, signs := 0, 0
		for m, err := range c.d.List(t.Context()) {
			switch {
			case err != nil:
				t.Fatal(err)
			case m.Path == "":
				signs++
			default:
				n++
			}
		}
		if n != c.want || signs == 0 {
			t.Errorf("%d secrets and %d signs of life, want %d and one for each folder", n, signs, c.want)
		}
	}
}
