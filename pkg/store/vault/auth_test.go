package vault_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// countOf returns how many of the calls are the one.
func countOf(calls []string, call string) (n int) {
	for _, c := range calls {
		if c == call {
			n++
		}
	}
	return n
}

const (
	loginCall = "PUT /v1/auth/approle/login"
	renewCall = "PUT /v1/auth/token/renew-self"
)

// TestTokenIsRenewed uses a token that lives for two seconds and may be renewed
// for an hour: no new login is needed.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	role := bao.AppRole(t, "renewed", policy(t), "2s")
	bao.Do(t, http.MethodPost, "auth/approle/role/renewed", map[string]any{"token_ttl": "2s", "token_max_ttl": "1h"}, nil)
	front := serverstest.StartProxy(t, bao.URL)
	d := open(t, vault.Config{Address: front.URL, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
	var calls []string
	for n := 1; countOf(calls, renewCall) < 3; n++ {
		rotate(t, d, "renewed", n)
		calls = append(calls, front.Take()...)
	}
	if n := countOf(calls, loginCall); n != 1 {
		t.Errorf("%d logins, want 1 and renewals", n)
	}
}

// TestTokenThatCannotBeRenewedIsUsedToItsEnd lets renewals and logins fail while
// the token is good.
func TestTokenThatCannotBeRenewedIsUsedToItsEnd(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	role := bao.AppRole(t, "tired", policy(t), "4s")
	front := serverstest.StartProxy(t, bao.URL)
	d := open(t, vault.Config{Address: front.URL, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
	rotate(t, d, "tired", 1)
	front.Inject(-1, under("PUT /v1/auth/"), serverstest.Answer(http.StatusInternalServerError, ""))
	var calls []string
	for len(calls) == 0 || countOf(calls, renewCall) == 0 {
		if _, err := d.Describe(t.Context(), "tired"); err != nil {
			t.Fatalf("the token is good: %v", err)
		}
		calls = front.Take()
	}
	for {
		_, err := d.Describe(t.Context(), "tired")
		if errors.Is(err, store.ErrUnavailable) {
			break // it has ended, and there is no other
		}
		if err != nil {
			t.Fatalf("%v, want unavailable", err)
		}
	}
	front.Heal()
	rotate(t, d, "tired", 2)
}

func under(prefix string) func(string) bool {
	return func(call string) bool { return strings.HasPrefix(call, prefix) }
}

// TestALoginThatHangsHoldsNobody: a caller that waits for a login leaves with its own
// context.
func TestALoginThatHangsHoldsNobody(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	role := bao.AppRole(t, "hang", policy(t), "1h")
	front := serverstest.StartProxy(t, bao.URL)
	front.Inject(-1, under(loginCall), serverstest.Hang)
	d := open(t, vault.Config{Address: front.URL, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
	long, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, err := d.Describe(long, "x")
		first <- err
	}()
	for front.Hits() == 0 {
		short, done := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := d.Describe(short, "x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the end of the context", err)
		}
		done()
	}
	short, done := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer done()
	if _, err := d.Describe(short, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the end of the context", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want cancelled", err)
	}
}

// TestAMissingPermissionIsNoReasonToLogIn: leases would pile up in the server.
func TestAMissingPermissionIsNoReasonToLogIn(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	role := bao.AppRole(t, "narrow", `path "secret/metadata/other" { capabilities = ["read"] }`, "1h")
	front := serverstest.StartProxy(t, bao.URL)
	d := open(t, vault.Config{Address: front.URL, Auth: vault.AppRole{RoleID: role.ID, SecretID: role.Secret}})
	for range 10 {
		if _, err := d.Describe(t.Context(), "mine"); !errors.Is(err, store.ErrAccessDenied) {
			t.Fatalf("%v, want access denied", err)
		}
	}
	if n := countOf(front.Take(), loginCall); n > 2 {
		t.Errorf("%d logins for 10 calls that are denied, want at most 2", n)
	}
}

func TestLoginIsRefused(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	role := bao.AppRole(t, "refused", policy(t), "1h")
	issuer := newIssuer(t, bao, "jwt")
	for name, auth := range map[string]vault.Auth{
		"another secret id":          vault.AppRole{RoleID: role.ID, SecretID: "no"},
		"another role":               vault.AppRole{RoleID: "no", SecretID: role.Secret},
		"a method that is not there": vault.AppRole{Mount: "nowhere", RoleID: role.ID, SecretID: role.Secret},
		"another token":              vault.Token{Token: "no"},
		"a missing file":             vault.JWT{Role: "rotator", File: "/nonexistent"},
		"an expired JWT":             vault.JWT{Role: "rotator", File: issuer.file(t, -time.Hour)},
		"a JWT of another role":      vault.JWT{Role: "other", File: issuer.file(t, time.Hour)},
	} {
		_, err := open(t, vault.Config{Address: bao.URL, Auth: auth}).Describe(t.Context(), "x")
		if !errors.Is(err, store.ErrAccessDenied) {
			t.Errorf("%s: %v, want access denied", name, err)
		}
	}
}

// TestJWT logs in with signed tokens as pods do, whose file is replaced while the
// program runs.
func TestJWT(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	for _, mount := range []string{"jwt", "kubernetes"} {
		issuer := newIssuer(t, bao, mount)
		path := issuer.file(t, time.Hour)
		d := open(t, vault.Config{Address: bao.URL, Auth: vault.JWT{Mount: mount, Role: "rotator", File: path}})
		rotate(t, d, "by/"+mount, 1)

		// The token of the program ends at once, and by then the file holds another.
		issuer.replace(t, path, -time.Hour)
		bao.Revoke(t, "auth/"+mount+"/login")
		if _, err := d.Describe(t.Context(), "by/"+mount); !errors.Is(err, store.ErrAccessDenied) {
			t.Errorf("%s: with an expired file: %v, want access denied", mount, err)
		}
		issuer.replace(t, path, time.Hour)
		rotate(t, d, "by/"+mount, 2)
	}
}

// issuer signs tokens that a JWT method of the server believes.
type issuer struct{ key *ecdsa.PrivateKey }

func newIssuer(t *testing.T, bao *serverstest.Bao, mount string) issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	bao.Do(t, http.MethodPut, "sys/policies/acl/by-jwt", map[string]any{"policy": policy(t)}, nil)
	bao.Do(t, http.MethodPost, "sys/auth/"+mount, map[string]any{"type": "jwt"}, nil)
	bao.Do(t, http.MethodPost, "auth/"+mount+"/config", map[string]any{"jwt_validation_pubkeys": []string{public}}, nil)
	bao.Do(t, http.MethodPost, "auth/"+mount+"/role/rotator", map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault"}, "token_policies": []string{"by-jwt"}, "token_ttl": "1h",
	}, nil)
	return issuer{key}
}

// sign returns a token that is good for ttl.
func (i issuer) sign(t *testing.T, ttl time.Duration) string {
	t.Helper()
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"sub": "system:serviceaccount:tradepulse:rotator", "aud": "vault", "iat": now.Add(-2 * time.Hour).Unix(), "exp": now.Add(ttl).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	text := b64([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + b64(claims)
	digest := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return text + "." + b64(sig)
}

func (i issuer) file(t *testing.T, ttl time.Duration) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	i.replace(t, path, ttl)
	return path
}

func (i issuer) replace(t *testing.T, path string, ttl time.Duration) {
	t.Helper()
	if err := os.WriteFile(path, fmt.Appendln(nil, i.sign(t, ttl)), 0o600); err != nil {
		t.Fatal(err)
	}
}
