package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tradepulse/rotator/pkg/store"
)

// Auth gets a token.
type Auth interface {
	// login returns a fresh token. c carries no token.
	login(ctx context.Context, c *api.Client) (*api.Secret, error)
}

// Token is a token that somebody else made. It is renewed while it can be.
type Token struct{ Token string }

// EnvironmentToken returns the token in VAULT_TOKEN or BAO_TOKEN, nil when there
// is none: then calls are made without one, which suits a local agent that adds
// its own.
func EnvironmentToken(lookup func(string) (string, bool)) Auth {
	for _, name := range []string{"VAULT_TOKEN", "BAO_TOKEN"} {
		if token, ok := lookup(name); ok && token != "" {
			return Token{Token: token}
		}
	}
	return nil
}

func (t Token) login(ctx context.Context, c *api.Client) (*api.Secret, error) {
	c.SetToken(t.Token)
	self, err := c.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return nil, err
	}
	ttl, err := self.TokenTTL()
	if err != nil {
		return nil, err
	}
	renewable, err := self.TokenIsRenewable()
	if err != nil {
		return nil, err
	}
	return &api.Secret{Auth: &api.SecretAuth{ClientToken: t.Token, LeaseDuration: int(ttl.Seconds()), Renewable: renewable}}, nil
}

// AppRole logs in with a role id and a secret id.
type AppRole struct {
	// Mount of the method. "" means approle.
	Mount    string
	RoleID   string
	SecretID string
}

func (a AppRole) login(ctx context.Context, c *api.Client) (*api.Secret, error) {
	return write(ctx, c, a.Mount, "approle", map[string]any{"role_id": a.RoleID, "secret_id": a.SecretID})
}

// JWT logs in with a signed token that a file holds, read anew each time since
// those who issue them replace them. The service account token of a pod is one.
type JWT struct {
	// Mount of the method: "" means jwt. For the method of Kubernetes it is
	// usually kubernetes.
	Mount string
	Role  string
	// File holds the token.
	File string
}

// KubernetesTokenFile is where a pod finds its token.
const KubernetesTokenFile = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // a path

func (j JWT) login(ctx context.Context, c *api.Client) (*api.Secret, error) {
	token, err := os.ReadFile(j.File)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", store.ErrAccessDenied, err)
	}
	return write(ctx, c, j.Mount, "jwt", map[string]any{"role": j.Role, "jwt": strings.TrimSpace(string(token))})
}

func write(ctx context.Context, c *api.Client, mount, def string, body map[string]any) (*api.Secret, error) {
	if mount == "" {
		mount = def
	}
	s, err := c.Logical().WriteWithContext(ctx, "auth/"+strings.Trim(mount, "/")+"/login", body)
	if err != nil {
		return nil, err
	}
	if s == nil || s.Auth == nil {
		return nil, errors.New("the login answered without a token")
	}
	return s, nil
}

// session keeps a client logged in.
type session struct {
	auth Auth
	mu   sync.Mutex
	c    *api.Client
	// renewAt is when to renew the token, expires when it is of no use any
	// more; the zero value is never.
	renewAt, expires time.Time
	renewable, ready bool
}

// client returns the client with a token that is good for a while.
func (s *session) client(ctx context.Context) (*api.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.auth == nil, s.ready && (s.renewAt.IsZero() || now.Before(s.renewAt)):
		return s.c, nil
	case s.ready && s.renewable && now.Before(s.expires):
		if got, err := s.c.Auth().Token().RenewSelfWithContext(ctx, 0); err == nil && got != nil && got.Auth != nil {
			s.got(got.Auth, now)
			return s.c, nil
		}
	}
	return s.c, s.login(ctx)
}

// again logs in after the server refused the token that was used.
func (s *session) again(ctx context.Context, used string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, fixed := s.auth.(Token); fixed || s.auth == nil || s.c.Token() != used {
		return nil
	}
	return s.login(ctx)
}

func (s *session) login(ctx context.Context) error {
	fresh, err := s.c.CloneWithHeaders()
	if err != nil {
		return err
	}
	fresh.ClearToken()
	got, err := s.auth.login(ctx, fresh)
	if err != nil {
		s.ready = false
		return fmt.Errorf("log in: %w", err)
	}
	s.c.SetToken(got.Auth.ClientToken)
	s.got(got.Auth, time.Now())
	return nil
}

// got notes for how long a token is good. It is renewed after half of that.
func (s *session) got(a *api.SecretAuth, now time.Time) {
	s.ready, s.renewable, s.renewAt, s.expires = true, a.Renewable, time.Time{}, time.Time{}
	if ttl := time.Duration(a.LeaseDuration) * time.Second; ttl > 0 {
		s.renewAt, s.expires = now.Add(ttl/2), now.Add(ttl)
	}
}

// call makes one call, and makes it again with a fresh token when the one it
// had was refused.
func (d *Driver) call(ctx context.Context, do func(*api.Logical) (*api.Secret, error)) (*api.Secret, error) {
	c, err := d.session.client(ctx)
	if err != nil {
		return nil, classify(ctx, err)
	}
	used := c.Token()
	s, err := do(c.Logical())
	if refused(err) {
		if err := d.session.again(ctx, used); err != nil {
			return nil, classify(ctx, err)
		}
		if c.Token() != used {
			s, err = do(c.Logical())
		}
	}
	return s, classify(ctx, err)
}

func refused(err error) bool {
	var resp *api.ResponseError
	return errors.As(err, &resp) && resp.StatusCode == http.StatusForbidden
}
