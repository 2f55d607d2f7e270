package client

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// maxToken bounds a bearer token, in bytes.
const maxToken = 8 << 10

// TokenAuthenticator lets requests pass that carry the current bearer token, or
// during the overlap the one before. With "rollout: prepare-then-activate" the
// next one passes from when it is staged: some client has it the moment that it
// is promoted, and this process a moment later. It is safe for concurrent use.
type TokenAuthenticator struct {
	// ClientAddr names the client of a request in the log and in
	// [TokenAuthenticator.PreviousUses]. Nil is the host of RemoteAddr; a service
	// behind a proxy that it trusts takes the address from its header. Set it
	// before the first request.
	ClientAddr func(*http.Request) string

	m       *Manager
	id      secret.ID
	realm   string
	overlap time.Duration
	blind   [32]byte // per process: what is compared tells nothing of length or content
	state   atomic.Pointer[tokens]
	uses    metric.Int64Counter
	clients previousClients
	stop    func()
}

// tokens are what is accepted, as MACs under the process's own key.
type tokens struct {
	version  secret.VersionID
	current  [32]byte
	previous [32]byte
	until    time.Time // when previous ends; zero for no previous
	staged   [32]byte  // zero for none
}

// NewTokenAuthenticator returns an authenticator for a secret of m. realm is
// what WWW-Authenticate names; overlap is for how long the token before the
// current one is accepted, 0 for not at all.
//
// A process that starts within the overlap accepts the previous token too, if
// the store still has it at that stage and lets the service read it; the overlap
// then counts from when the store made the current one.
func NewTokenAuthenticator(ctx context.Context, m *Manager, id secret.ID, realm string, overlap time.Duration) (*TokenAuthenticator, error) {
	if i := strings.IndexFunc(realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }); i >= 0 {
		return nil, fmt.Errorf("client: realm: byte %d cannot stand in a header", i)
	}
	a := &TokenAuthenticator{m: m, id: id, realm: realm, overlap: overlap}
	if _, err := rand.Read(a.blind[:]); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	i := telemetry.New(m.cfg.MeterProvider.Meter(scope))
	a.uses = i.Counter("admin.token.uses", "{request}", "Requests by which token they carried.")
	if err := i.Err(); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	var err error
	a.stop, err = m.Subscribe(ctx, id, a.take)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// ErrUnsendable is wrapped by what a [TokenAuthenticator] says of a token that no
// client could send.
var ErrUnsendable = errors.New("the value cannot stand in an Authorization header")

// take is the hook. A token that no client could send is refused. A staged token is
// accepted beside the others until the next version is current.
func (a *TokenAuthenticator) take(ctx context.Context, c Change) error {
	token := string(c.Value.Reveal())
	if err := sendable(token); err != nil {
		return err
	}
	if c.Staged {
		next := *a.state.Load() // a hook is called with the version in use first
		next.staged = a.mac(token)
		a.state.Store(&next)
		return nil
	}
	next := &tokens{version: c.Version.ID, current: a.mac(token)}
	switch before := a.state.Load(); {
	case a.overlap <= 0:
	case before == nil:
		next.previous, next.until = a.fromStore(ctx, c.Version)
	case before.version == c.Version.ID:
		next.previous, next.until = before.previous, before.until
	default:
		next.previous, next.until = before.current, time.Now().Add(a.overlap)
		a.clients.reset()
	}
	a.state.Store(next)
	a.m.log.LogAttrs(ctx, slog.LevelInfo, "admin.token.rotated", slog.String("secret_id", string(c.ID)), slog.String("version_id", string(c.Version.ID)))
	return nil
}

// sendable refuses what HTTP would not carry unchanged, such as a line feed that
// a file brought along.
func sendable(token string) error {
	if token == "" || len(token) > maxToken {
		return fmt.Errorf("%w: %d bytes, want 1 to %d", ErrUnsendable, len(token), maxToken)
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return fmt.Errorf("%w: byte %d of %d is not a visible ASCII character", ErrUnsendable, i+1, len(token))
		}
	}
	return nil
}

// fromStore returns the token before cur and until when it is accepted, for a
// process that has just started.
func (a *TokenAuthenticator) fromStore(ctx context.Context, cur secret.Version) (previous [32]byte, until time.Time) {
	until = cur.CreatedAt.Add(a.overlap)
	if !time.Now().Before(until) {
		return previous, time.Time{}
	}
	_, val, err := a.m.cfg.Source.Read(ctx, a.id, store.Selector{Stage: secret.StagePrevious})
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNoValue):
		return previous, time.Time{}
	case err != nil:
		a.m.log.LogAttrs(ctx, slog.LevelWarn, "admin.token.no_previous", slog.String("secret_id", string(a.id)), slog.String("error", err.Error()),
			slog.String("message", "clients that still send the previous token are refused by this process"))
		return previous, time.Time{}
	}
	return a.mac(string(val.Reveal())), until
}

// mac returns what is compared in place of a token: MACs have one length, and under
// the key of the process they reveal nothing.
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
	isStaged := subtle.ConstantTimeCompare(got[:], s.staged[:]) == 1
	return isCurrent || isPrevious || isStaged, isPrevious && !isCurrent
}

// Middleware passes requests on that carry an accepted token, and answers others
// as RFC 6750 says: 401 with a challenge, and 400 for a header that is
// malformed. It takes tokens from the Authorization header only.
func (a *TokenAuthenticator) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, how := bearer(r.Header)
		which := how
		if how == "" {
			ok, previous := a.Check(token, time.Now())
			switch {
			case previous:
				which = "previous"
				a.previousUsed(r)
			case ok:
				which = "current"
			default:
				which = "rejected"
			}
		}
		a.uses.Add(r.Context(), 1, metric.WithAttributes(attribute.String("token", which)))
		if which == "current" || which == "previous" {
			next.ServeHTTP(w, r)
			return
		}
		a.refuse(w, which)
	})
}

// refuse answers a request whose token is missing, malformed or rejected.
func (a *TokenAuthenticator) refuse(w http.ResponseWriter, which string) {
	code, challenge := http.StatusUnauthorized, `Bearer realm="`+a.realm+`"`
	switch which {
	case "malformed":
		code, challenge = http.StatusBadRequest, challenge+`, error="invalid_request"`
	case "rejected":
		challenge += `, error="invalid_token"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(code), code)
}

// bearer returns the token of a request, or how it fails to have one: missing or
// malformed.
func bearer(h http.Header) (token, how string) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return "", "missing"
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	switch {
	case len(values) > 1:
		return "", "malformed"
	case !strings.EqualFold(scheme, "Bearer"):
		return "", "missing" // another scheme: nothing is wrong, and nothing is there
	case len(token) > maxToken:
		return token, "" // Check refuses it
	case sendable(token) != nil:
		return "", "malformed"
	}
	return token, ""
}

// previousUsed counts and logs a client that sends the previous token.
func (a *TokenAuthenticator) previousUsed(r *http.Request) {
	client := remoteHost(r)
	if a.ClientAddr != nil {
		client = a.ClientAddr(r)
	}
	if n, say := a.clients.used(client, time.Now()); say {
		a.m.log.LogAttrs(r.Context(), slog.LevelWarn, "admin.token.previous_used", slog.String("secret_id", string(a.id)),
			slog.String("client", client), slog.Int64("uses", n))
	}
}

// remoteHost returns the host of the peer, or all of RemoteAddr if it has no port.
func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// PreviousUses returns the clients that have sent the previous token since the last
// rotation, the latest first. A client without a request since then is not among
// them.
func (a *TokenAuthenticator) PreviousUses() []PreviousUse { return a.clients.list() }

// Close takes the authenticator off its secret; it continues to accept the tokens that it has.
func (a *TokenAuthenticator) Close() { a.stop() }
