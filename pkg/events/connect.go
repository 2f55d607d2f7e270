package events

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tradepulse/rotator/internal/backoff"
)

// ConnectConfig says how to reach NATS.
type ConnectConfig struct {
	// URL names the servers, separated by commas. It is ignored with InProcess.
	URL string
	// Name is how the connection shows on the server.
	Name string
	// CredsFile is a file of a user JWT and its key; NKeyFile one of an nkey
	// seed; NKey is the public part of a key that signs with Sign. At most one
	// of them is set.
	CredsFile, NKeyFile, NKey string
	Sign                      func(nonce []byte) ([]byte, error)
	// User and Password are the least of the ways to log in.
	User     string
	Password string `json:"-"`
	// ReadPassword, if set, returns the password as it is now. It is called at each
	// login; after an error the last password is used.
	ReadPassword func() (string, error) `json:"-"`
	// TLS, if set, is used for every connection; 1.3 is the least version.
	TLS *tls.Config
	// Roots, if set, returns the authorities as they are now, at each connection. It
	// takes the place of TLS.RootCAs.
	Roots func() (*x509.CertPool, error) `json:"-"`
	// Background returns a connection at once, also when no server can be reached
	// yet: it comes about by itself, as it comes back later.
	Background bool
	// Waiting, if set, is called with the error of each try of [Connect] that failed.
	Waiting func(error)
	// InProcess reaches a server in this process without a socket.
	InProcess nats.InProcessConnProvider
	// Timeout bounds one try to reach one server. 0 means 5 s.
	Timeout time.Duration
	// Logger hears of lost and regained connections; nil means slog.Default.
	Logger *slog.Logger
}

// The pauses between two tries to come back. While the server refuses the
// credentials the pause doubles, so that a fleet with a wrong password is no
// load; maxRefusedWait keeps the return within a lease.
const (
	reconnectWait   = 500 * time.Millisecond
	reconnectJitter = 250 * time.Millisecond
	maxRefusedWait  = 10 * time.Second
)

// Connect returns a connection that comes back by itself for ever, also after
// its credentials were refused: they may be in force again, and files are read
// anew with each try. When no server can be reached yet it waits until one can or
// ctx ends, with growing pauses, and logs each new reason once. A credentials file
// that cannot be read, or holds none, is an error at once.
//
// A server can still close the connection for good, for a breach of the
// protocol. That is logged as nats.closed, and [AwaitClose] returns.
func Connect(ctx context.Context, cfg ConnectConfig) (*nats.Conn, error) {
	log := cfg.Logger
	if log == nil {
		log = slog.Default()
	}
	w := &reconnects{log: log, url: cfg.url()}
	if err := cfg.checkFiles(); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	opts, err := cfg.options(w)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", cfg.scrub(err))
	}
	said := ""
	for wait := 500 * time.Millisecond; ; wait = min(wait*2, maxRefusedWait) {
		nc, err := nats.Connect(cfg.URL, opts...)
		if err == nil {
			w.conn.Store(nc)
			return nc, nil
		}
		err = cfg.scrub(err)
		if cfg.Waiting != nil {
			cfg.Waiting(err)
		}
		if why := reason(err); why != said {
			said = why
			w.unreachable(ctx, err, wait)
		}
		backoff.Pause(ctx, wait)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connect to NATS at %s: %w (%w)", cfg.url(), err, ctx.Err())
		}
	}
}

// url returns the URL for people: without the password or token that one may have
// in it.
func (cfg ConnectConfig) url() string {
	servers := strings.Split(cfg.URL, ",")
	for i, s := range servers {
		if u, err := url.Parse(strings.TrimSpace(s)); err == nil {
			if _, has := u.User.Password(); u.User != nil && !has {
				u.User = url.User("xxxxx") // a token
			}
			servers[i] = u.Redacted()
		} else {
			servers[i] = "a server whose URL does not parse"
		}
	}
	return strings.Join(servers, ",")
}

// reconnects paces the tries to come back and logs what becomes of a connection.
type reconnects struct {
	log  *slog.Logger
	url  string
	conn atomic.Pointer[nats.Conn] // nil until nats.Connect has returned
	last atomic.Pointer[string]    // the last asynchronous error
}

// wait returns the pause after n tries, and logs a refusal of the last one. It
// is the only place that hears of a refusal before the first connection.
func (w *reconnects) wait(n int) time.Duration {
	wait := reconnectWait + backoff.Random(reconnectJitter)
	if nc := w.conn.Load(); nc != nil && refused(nc.LastError()) {
		wait = min(wait<<min(n-1, 10), maxRefusedWait)
		w.refused(nc.LastError(), wait)
	}
	return wait
}

// unreachable logs why the first connection does not come about.
func (w *reconnects) unreachable(ctx context.Context, err error, wait time.Duration) {
	if refused(err) {
		w.refused(err, wait)
		return
	}
	w.log.LogAttrs(ctx, slog.LevelWarn, "nats.unreachable", slog.String("url", w.url), slog.String("error", err.Error()), slog.Duration("again_in", wait))
}

func (w *reconnects) refused(err error, wait time.Duration) {
	w.log.Error("nats.refused", slog.String("url", w.url), slog.String("error", err.Error()), slog.Duration("again_in", wait),
		slog.String("remedy", "see whether the user, the password or the credentials file is still valid on the server"))
}

// closed logs that the server has closed the connection for good.
func (w *reconnects) closed(nc *nats.Conn) {
	reason := "unknown"
	if err := nc.LastError(); err != nil {
		reason = err.Error()
	}
	w.log.Error("nats.closed", slog.String("url", w.url), slog.String("error", reason),
		slog.String("remedy", "this connection does not come back; a program ends and has to be started again, a service opens another one"))
}

// AwaitClose returns nil once ctx has ended, and an error when nc is closed
// before: nothing that runs on it works any more, so a program has to end.
func AwaitClose(ctx context.Context, nc *nats.Conn) error {
	closed := nc.StatusChanged(nats.CLOSED)
	defer nc.RemoveStatusListener(closed)
	if !nc.IsClosed() { // a listener hears of no status before it
		select {
		case <-ctx.Done():
			return nil
		case <-closed:
		}
	}
	return fmt.Errorf("the connection to NATS was closed: %w; start the program again", cmp.Or(nc.LastError(), nats.ErrConnectionClosed))
}

// failed logs an asynchronous error. A refusal is logged by wait, and what is not
// permitted only when it differs from the error before: a program tries again.
func (w *reconnects) failed(err error) {
	if refused(err) {
		return
	}
	text := err.Error()
	if last := w.last.Swap(&text); last != nil && *last == text && errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	w.log.Error("nats.error", slog.String("error", text))
}

// refused reports whether the server has refused the credentials. It also knows
// the errors of a handshake, which nats.go passes on as text.
func refused(err error) bool {
	if err == nil {
		return false
	}
	text := strings.ToLower(err.Error())
	return slices.ContainsFunc([]string{nats.AUTHORIZATION_ERR, "authentication expired", "authentication revoked"}, func(s string) bool {
		return strings.Contains(text, s)
	})
}

func (cfg ConnectConfig) options(w *reconnects) ([]nats.Option, error) {
	log := w.log
	opts := []nats.Option{
		nats.Name(cfg.Name), nats.Timeout(cmp.Or(cfg.Timeout, 5*time.Second)), nats.PermissionErrOnSubscribe(true),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(), nats.CustomReconnectDelay(w.wait),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats.disconnected", slog.String("error", err.Error()))
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("nats.reconnected") }),
		// Without callbacks for our own Close, closed hears of the server's only.
		nats.NoCallbacksAfterClientClose(), nats.ClosedHandler(w.closed),
		// A publish that is not permitted shows here only.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { w.failed(err) }),
	}
	if cfg.Background {
		opts = append(opts, nats.RetryOnFailedConnect(true), nats.ConnectHandler(func(*nats.Conn) { log.Info("nats.connected") }))
	}
	if cfg.TLS != nil {
		secure := cfg.TLS.Clone()
		secure.MinVersion = max(secure.MinVersion, tls.VersionTLS13)
		opts = append(opts, nats.Secure(secure))
	}
	if cfg.Roots != nil {
		opts = append(opts, func(o *nats.Options) error { o.RootCAsCB = cfg.Roots; return nil })
	}
	if cfg.InProcess != nil {
		opts = append(opts, nats.InProcessServer(cfg.InProcess))
	}
	identity, err := cfg.identity(w)
	return append(opts, identity...), err
}

// checkFiles reads the file of credentials once, so that a mistake is an error and
// not a server that is waited for.
func (cfg ConnectConfig) checkFiles() error {
	if cfg.CredsFile == "" {
		return nil
	}
	b, err := os.ReadFile(cfg.CredsFile)
	if err != nil {
		return fmt.Errorf("credentials file: %w", err)
	}
	if _, err := nkeys.ParseDecoratedJWT(b); err != nil {
		return fmt.Errorf("credentials file %s has no user JWT: write one that nsc or the operator of the servers has made", cfg.CredsFile)
	}
	if _, err := nkeys.ParseDecoratedNKey(b); err != nil {
		return fmt.Errorf("credentials file %s has no user key: write one that nsc or the operator of the servers has made", cfg.CredsFile)
	}
	return nil
}
