package client

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/client/internal/fence"
	"github.com/tradepulse/rotator/pkg/secret"
)

// maxToken bounds a bearer token, in bytes.
const maxToken = secret.MaxTokenLength

// TokenAuthenticator lets requests pass that carry the current bearer token, or
// during the overlap the one before. With "rollout: prepare-then-activate" the
// next one passes from when it is staged: some client has it the moment that it
// is promoted, and this process a moment later. It is safe for concurrent use.
//
// It checks at each use whether the tokens may still be used, and refuses past the
// fence, see [FenceError]. The overlap ends when the token before is retired, however
// much of it is left. The use of a token after that is refused, counted, logged and
// reported on the bus, with the address of the client.
type TokenAuthenticator struct {
	// ClientAddr names the client of a request in the log and in
	// [TokenAuthenticator.PreviousUses]. Nil is the host of RemoteAddr; a service
	// behind a proxy that it trusts takes the address from its header. Set it
	// before the first request.
	ClientAddr func(*http.Request) string

	m       *Manager
	e       *entry
	realm   string
	overlap time.Duration
	blind   [32]byte // per process: what is compared tells nothing of length or content
	mu      sync.Mutex
	state   atomic.Pointer[tokens] // replaced with mu held
	uses    metric.Int64Counter
	clients previousClients
	closed  atomic.Bool
	stop    func()
}

var _ acceptor = (*TokenAuthenticator)(nil)

// TokenUse says which token a request carried.
type TokenUse string

// The tokens of a request.
const (
	// TokenCurrent is a token that is accepted: the current or a staged one.
	TokenCurrent TokenUse = "current"
	// TokenPrevious is the token before the current one, which is still accepted.
	TokenPrevious TokenUse = "previous"
	// TokenRetired is a token that was accepted once. It is refused.
	TokenRetired TokenUse = "retired"
	// TokenRejected is any other token. It is refused.
	TokenRejected TokenUse = "rejected"
)

// Accepted reports whether the request may pass.
func (u TokenUse) Accepted() bool { return u == TokenCurrent || u == TokenPrevious }

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
	e, ok := m.find(id)
	if !ok {
		return nil, fmt.Errorf("client: %w: %s", ErrUnknown, id)
	}
	a := &TokenAuthenticator{m: m, e: e, realm: realm, overlap: overlap}
	a.state.Store(&tokens{})
	if _, err := rand.Read(a.blind[:]); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	i := telemetry.New(m.cfg.MeterProvider.Meter(scope))
	a.uses = i.Counter("admin.token.uses", "{request}", "Requests by which token they carried.")
	if err := i.Err(); err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	detach := e.attach(a)
	leave, err := m.subscribe(ctx, id, steps{a.prepare, a.commit, a.withdraw})
	if err != nil {
		detach()
		return nil, err
	}
	a.stop = func() { leave(); detach() }
	a.recall(ctx)
	return a, nil
}

// ErrUnsendable is wrapped by what a [TokenAuthenticator] says of a token that no
// client could send.
var ErrUnsendable = errors.New("the value cannot stand in an Authorization header")

// errUnrecorded refuses a staged token that no proof would know to be accepted.
var errUnrecorded = errors.New("the bus has not stored yet which versions this process accepts")

// prepare implements [TwoPhase]. A token that no client could send is refused. A
// staged token is accepted beside the others until it is withdrawn.
func (a *TokenAuthenticator) prepare(_ context.Context, c Change) error {
	text := string(c.Value.Reveal())
	if err := sendable(text); err != nil {
		return err
	}
	next := token{version: c.Version.ID, mac: a.mac(text)}
	if !c.Staged {
		a.change(func(s *tokens) { s.prepared = next })
		return nil
	}
	if a.state.Load().staged == next {
		return nil
	}
	a.change(func(s *tokens) { s.staged = next })
	if !a.e.claim.accepting(fence.Clock{}) {
		a.change(func(s *tokens) { s.staged = token{} })
		return errUnrecorded
	}
	return nil
}

// commit implements [TwoPhase].
func (a *TokenAuthenticator) commit(ctx context.Context, c Change) {
	a.change(func(s *tokens) {
		if s.current.version != c.Version.ID || !s.current.mac.is(s.prepared.mac) { // at another place an id stands for another token
			s.replace(s.prepared, time.Now(), a.overlap)
			a.clients.reset()
		}
		s.prepared = token{}
	})
	a.m.log.LogAttrs(ctx, slog.LevelInfo, "admin.token.rotated", attrLogID(c.ID), slog.String("version_id", string(c.Version.ID)))
}

// withdraw implements [TwoPhase].
func (a *TokenAuthenticator) withdraw(v secret.VersionID) {
	a.change(func(s *tokens) {
		if s.staged.version == v {
			s.remember(s.staged, true)
			s.staged = token{}
		}
		if s.prepared.version == v {
			s.prepared = token{}
		}
	})
}

// accepts implements acceptor.
func (a *TokenAuthenticator) accepts() []secret.VersionID { return a.state.Load().accepted(time.Now()) }

// drop implements acceptor.
func (a *TokenAuthenticator) drop(keep func(secret.VersionID) bool, retired bool) {
	a.change(func(s *tokens) { s.drop(keep, retired) })
}

// change replaces the tokens by a changed copy.
func (a *TokenAuthenticator) change(f func(*tokens)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := *a.state.Load()
	f(&next)
	a.state.Store(&next)
}

// sendable refuses what HTTP would not carry unchanged, such as a line feed that
// a file brought along.
func sendable(token string) error {
	if err := secret.UseToken.Check([]byte(token)); err != nil {
		return fmt.Errorf("%w: %w", ErrUnsendable, err)
	}
	return nil
}

// mac returns what is compared in place of a token: MACs have one length, and under
// the key of the process they reveal nothing.
func (a *TokenAuthenticator) mac(token string) (out mac) {
	h := hmac.New(sha256.New, a.blind[:])
	_, _ = h.Write([]byte(token))
	copy(out[:], h.Sum(nil))
	return out
}

// Check says which token this is. It takes the same time for every token of one
// length. Its error is [ErrClosed], or a [FenceError] for a process that cannot tell:
// then it has read the store first, within ctx. It reports the use of a retired token,
// with the client of [WithClient].
func (a *TokenAuthenticator) Check(ctx context.Context, token string) (TokenUse, error) {
	use, v, err := a.check(ctx, token)
	if use == TokenRetired {
		a.e.tripped(ctx, v, clientOf(ctx))
	}
	return use, err
}

// check is Check, and returns the version of a token that was accepted once.
func (a *TokenAuthenticator) check(ctx context.Context, token string) (TokenUse, secret.VersionID, error) {
	if len(token) == 0 || len(token) > maxToken {
		return TokenRejected, "", nil
	}
	a.e.access.reads[readUse].inc()
	if err := a.e.check(ctx); err != nil {
		return TokenRejected, "", err
	}
	if a.closed.Load() {
		return TokenRejected, "", ErrClosed
	}
	use, v := a.state.Load().which(a.mac(token), time.Now())
	// The process may have been paused since: the last look at the clock counts.
	switch {
	case use.Accepted() && !a.e.claim.usable():
		return TokenRejected, "", a.e.fenced(ctx, nil)
	case use.Accepted() && v != "" && !a.e.claim.othersUsable():
		return TokenRejected, "", nil
	}
	return use, v, nil
}

// PreviousUses returns the clients that have sent the previous token since the last
// rotation, the latest first. A client without a request since then is not among
// them.
func (a *TokenAuthenticator) PreviousUses() []PreviousUse { return a.clients.list() }

// Close takes the authenticator off its secret; it accepts no token from here on.
func (a *TokenAuthenticator) Close() {
	a.closed.Store(true)
	a.stop()
}
