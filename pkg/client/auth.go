package client

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/secret"
)

// maxToken bounds a bearer token, in bytes.
const maxToken = 8 << 10

// TokenAuthenticator lets requests pass that carry the current bearer token, or
// during the overlap the one before. It is safe for concurrent use.
type TokenAuthenticator struct {
	m       *Manager
	realm   string
	overlap time.Duration
	blind   [32]byte // per process: what is compared tells nothing of length or content
	state   atomic.Pointer[tokens]
	uses    metric.Int64Counter
	stop    func()
}

// tokens are what is accepted, as MACs under the process's own key.
type tokens struct {
	version  secret.VersionID
	current  [32]byte
	previous [32]byte
	until    time.Time // when previous ends; zero for no previous
}

// NewTokenAuthenticator returns an authenticator for a secret of m. realm is
// what WWW-Authenticate names; overlap is for how long the token before the
// current one is accepted, 0 for not at all.
func NewTokenAuthenticator(ctx context.Context, m *Manager, id secret.ID, realm string, overlap time.Duration) (*TokenAuthenticator, error) {
	a := &TokenAuthenticator{m: m, realm: realm, overlap: overlap}
	if _, err := rand.Read(a.blind[:]); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	var err error
	if a.uses, err = m.cfg.MeterProvider.Meter(scope).Int64Counter("admin.token.uses",
		metric.WithDescription("Requests by which token they carried."), metric.WithUnit("{request}")); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	a.stop, err = m.Subscribe(ctx, id, a.take)
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (a *TokenAuthenticator) take(ctx context.Context, c Change) error {
	if c.Staged {
		return nil
	}
	next := &tokens{version: c.Version.ID, current: a.mac(string(c.Value.Reveal()))}
	if before := a.state.Load(); before != nil && a.overlap > 0 {
		next.previous, next.until = before.current, time.Now().Add(a.overlap)
	}
	a.state.Store(next)
	a.m.log.LogAttrs(ctx, slog.LevelInfo, "admin.token.rotated", slog.String("secret_id", string(c.ID)), slog.String("version_id", string(c.Version.ID)))
	return nil
}

func (a *TokenAuthenticator) mac(token string) (out [32]byte) {
	h := hmac.New(sha256.New, a.blind[:])
	_, _ = h.Write([]byte(token))
	copy(out[:], h.Sum(nil))
	return out
}

// Check reports whether a token is accepted, and whether it is the previous one.
// It takes the same time for every token of one length.
func (a *TokenAuthenticator) Check(token string, now time.Time) (ok, previous bool) {
	if len(token) == 0 || len(token) > maxToken {
		return false, false
	}
	s, got := a.state.Load(), a.mac(token)
	isCurrent := subtle.ConstantTimeCompare(got[:], s.current[:]) == 1
	isPrevious := subtle.ConstantTimeCompare(got[:], s.previous[:]) == 1 && now.Before(s.until)
	return isCurrent || isPrevious, isPrevious && !isCurrent
}

// Middleware passes requests on that carry an accepted token, and answers others
// as RFC 6750 says.
func (a *TokenAuthenticator) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, sent := bearer(r)
		ok, previous := a.Check(token, time.Now())
		which := "rejected"
		switch {
		case previous:
			which = "previous"
			a.m.log.LogAttrs(r.Context(), slog.LevelWarn, "admin.token.previous_used", slog.String("client", r.RemoteAddr))
		case ok:
			which = "current"
		}
		a.uses.Add(r.Context(), 1, metric.WithAttributes(attribute.String("token", which)))
		if ok {
			next.ServeHTTP(w, r)
			return
		}
		challenge := fmt.Sprintf("Bearer realm=%q", a.realm)
		if sent {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
	})
}

// bearer returns the token of a request and whether there is one.
func bearer(r *http.Request) (string, bool) {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(token), true
}

// Close takes the authenticator off its secret; it goes on with what it has.
func (a *TokenAuthenticator) Close() { a.stop() }
