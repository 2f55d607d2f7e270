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

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Auth gets a token.
type Auth interface {
	// credential returns what the login proves itself with, as it is now.
	credential() (string, error)
	// login returns a fresh token for a credential. c carries no token.
	login(ctx context.Context, c *api.Client, credential string) (*api.Secret, error)
}

// Token is a token that was made elsewhere. It is renewed while it can be.
type Token struct {
	Token string `json:"-"`
	// Read, if set, returns the token as it is now, in place of Token.
	Read func() (string, error) `json:"-"`
}

// EnvironmentToken returns the token in BAO_TOKEN, else VAULT_TOKEN, and nil when
// there is none: then calls are made without one, which suits a local agent that
// adds its own.
func EnvironmentToken(lookup Lookup) Auth {
	if token, _ := lookup.variable("TOKEN"); token != "" {
		return Token{Token: token}
	}
	return nil
}

func (t Token) credential() (string, error) { return now(t.Token, t.Read) }

func (t Token) login(ctx context.Context, c *api.Client, token string) (*api.Secret, error) {
	c.SetToken(token)
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
	return &api.Secret{Auth: &api.SecretAuth{ClientToken: token, LeaseDuration: int(ttl.Seconds()), Renewable: renewable}}, nil
}

// AppRole logs in with a role id and a secret id.
type AppRole struct {
	// Mount of the method. "" means approle.
	Mount    string
	RoleID   string
	SecretID string `json:"-"`
	// Read, if set, returns the secret id as it is now, in place of SecretID.
	Read func() (string, error) `json:"-"`
}

func (a AppRole) credential() (string, error) { return now(a.SecretID, a.Read) }

func (a AppRole) login(ctx context.Context, c *api.Client, id string) (*api.Secret, error) {
	return write(ctx, c, a.Mount, "approle", map[string]any{"role_id": a.RoleID, "secret_id": id})
}

func now(fixed string, read func() (string, error)) (string, error) {
	if read == nil {
		return fixed, nil
	}
	return read()
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

func (j JWT) credential() (string, error) {
	token, err := os.ReadFile(j.File)
	return strings.TrimSpace(string(token)), err
}

func (j JWT) login(ctx context.Context, c *api.Client, token string) (*api.Secret, error) {
	return write(ctx, c, j.Mount, "jwt", map[string]any{"role": j.Role, "jwt": token})
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
		return nil, fmt.Errorf("%w: the login answered without a token", store.ErrAccessDenied)
	}
	return s, nil
}

// session keeps a client logged in. One call at a time logs in or renews; the
// others go on with the token that there is while it is good.
type session struct {
	auth Auth
	c    *api.Client
	turn chan struct{} // holds one

	mu sync.Mutex // of what follows
	// renewAt is when to renew the token, expires when it is of no use any
	// more; the zero value is never. granted is how long it was good for at
	// first.
	renewAt, expires time.Time
	granted          time.Duration
	renewable, ready bool
	// futile is until when a refusal is taken for what it says: a fresh token was
	// refused too.
	futile time.Time
	// sent is the credential of the last login, refusal what came of it.
	sent    string
	refusal refusedLogin
}

func newSession(auth Auth, c *api.Client) *session {
	return &session{auth: auth, c: c, turn: make(chan struct{}, 1)}
}

const (
	// renewPause is how long a token that could not be renewed is used before
	// that is tried again.
	renewPause = 10 * time.Second
	// futilePause is how long no login is tried after one that did not help.
	futilePause = time.Minute
)

// good reports whether the token can be used, and whether it need not be renewed.
func (s *session) good(now time.Time) (usable, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.auth == nil {
		return true, true
	}
	return s.ready && (s.expires.IsZero() || now.Before(s.expires)), s.ready && (s.renewAt.IsZero() || now.Before(s.renewAt))
}

// client returns the client with a token that is good for a while.
func (s *session) client(ctx context.Context) (*api.Client, error) {
	usable, fresh := s.good(time.Now())
	if fresh {
		return s.c, nil
	}
	if usable {
		select {
		case s.turn <- struct{}{}:
		default:
			return s.c, nil // another caller is about to renew it
		}
	} else if err := s.take(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	if usable, fresh = s.good(time.Now()); fresh {
		return s.c, nil
	}
	err := s.refresh(ctx, usable)
	if err != nil && usable {
		// What it says comes up again, at the latest when the token has ended.
		s.postpone()
		return s.c, nil
	}
	return s.c, err
}

func (s *session) take(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *session) release() { <-s.turn }

// refresh renews the token if it can be, and else logs in.
func (s *session) refresh(ctx context.Context, usable bool) error {
	s.mu.Lock()
	renew := usable && s.renewable
	granted := s.granted
	s.mu.Unlock()
	if _, fixed := s.auth.(Token); fixed && s.replaced() {
		return s.login(ctx)
	}
	if renew {
		got, err := s.c.Auth().Token().RenewSelfWithContext(ctx, 0)
		if err == nil && got != nil && got.Auth != nil && got.Auth.LeaseDuration > 0 {
			_, fixed := s.auth.(Token)
			// Near the longest life that it may have, a token is renewed for less
			// and less.
			if lease(got.Auth) > granted/2 || fixed {
				s.got(got.Auth, granted)
				return nil
			}
		}
	}
	return s.login(ctx)
}

// again logs in after the server refused the token that was used.
func (s *session) again(ctx context.Context, used string) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.release()
	_, fixed := s.auth.(Token)
	s.mu.Lock()
	futile := time.Now().Before(s.futile)
	s.mu.Unlock()
	if s.auth == nil || fixed && !s.replaced() || futile && !s.replaced() || s.c.Token() != used {
		return nil
	}
	return s.login(ctx)
}

// refusedAgain notes that a fresh token did not help: it is not the token.
func (s *session) refusedAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.futile = time.Now().Add(futilePause)
}

func lease(a *api.SecretAuth) time.Duration { return time.Duration(a.LeaseDuration) * time.Second }

// got notes for how long a token is good. It is renewed after half of that.
func (s *session) got(a *api.SecretAuth, granted time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusal = refusedLogin{}
	s.ready, s.renewable, s.granted, s.renewAt, s.expires = true, a.Renewable, granted, time.Time{}, time.Time{}
	if ttl := lease(a); ttl > 0 {
		now := time.Now()
		s.renewAt, s.expires = now.Add(ttl/2), now.Add(ttl)
	}
}

func (s *session) postpone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewAt = time.Now().Add(renewPause)
	if s.renewAt.After(s.expires) {
		s.renewAt = s.expires
	}
}

// call makes one call, and makes it again with a fresh token when the one it
// had was refused.
func (d *Driver) call(ctx context.Context, do func(*api.Logical) (*api.Secret, error)) (*api.Secret, error) {
	before := d.session.c.Token()
	s, err := d.try(ctx, do)
	if err == nil {
		return s, nil
	}
	return s, secret.Scrub(classify(ctx, err), d.session.confidential(before)...)
}

func (d *Driver) try(ctx context.Context, do func(*api.Logical) (*api.Secret, error)) (*api.Secret, error) {
	c, err := d.session.client(ctx)
	if err != nil {
		return nil, err
	}
	used := c.Token()
	s, err := do(c.Logical())
	if refused(err) {
		if err := d.session.again(ctx, used); err != nil {
			return nil, err
		}
		if c.Token() != used {
			if s, err = do(c.Logical()); refused(err) {
				d.session.refusedAgain()
			}
		}
	}
	return s, err
}

func refused(err error) bool {
	var resp *api.ResponseError
	return errors.As(err, &resp) && resp.StatusCode == http.StatusForbidden
}
