package events

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
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
	User, Password string
	// TLS, if set, is used for every connection; 1.3 is the least version.
	TLS *tls.Config
	// Background returns a connection at once, also when no server can be reached
	// yet: it comes about by itself, as it comes back later.
	Background bool
	// InProcess reaches a server in this process without a socket.
	InProcess nats.InProcessConnProvider
	// Timeout bounds one try to reach one server. 0 means 5 s.
	Timeout time.Duration
	// Logger hears of lost and regained connections; nil means slog.Default.
	Logger *slog.Logger
}

// Connect returns a connection that comes back by itself for ever. When no
// server can be reached yet it says so in the log, again and again with growing
// pauses, and waits until one can or ctx ends.
func Connect(ctx context.Context, cfg ConnectConfig) (*nats.Conn, error) {
	log := cfg.Logger
	if log == nil {
		log = slog.Default()
	}
	opts, err := cfg.options(log)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	for wait := 500 * time.Millisecond; ; wait = min(wait*2, 30*time.Second) {
		nc, err := nats.Connect(cfg.URL, opts...)
		if err == nil {
			return nc, nil
		}
		if errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) {
			log.LogAttrs(ctx, slog.LevelError, "nats.refused", slog.String("url", cfg.url()), slog.String("error", err.Error()), slog.Duration("again_in", wait))
		} else {
			log.LogAttrs(ctx, slog.LevelWarn, "nats.unreachable", slog.String("url", cfg.url()), slog.String("error", err.Error()), slog.Duration("again_in", wait))
		}
		pause(ctx, wait)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("connect to NATS at %s: %w (%w)", cfg.url(), err, ctx.Err())
		}
	}
}

// url returns the URL for people: without the password that one may have in it.
func (cfg ConnectConfig) url() string {
	servers := strings.Split(cfg.URL, ",")
	for i, s := range servers {
		if u, err := url.Parse(strings.TrimSpace(s)); err == nil {
			servers[i] = u.Redacted()
		} else {
			servers[i] = "a server whose URL does not parse"
		}
	}
	return strings.Join(servers, ",")
}

func (cfg ConnectConfig) options(log *slog.Logger) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(cfg.Name), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(250*time.Millisecond, time.Second),
		nats.Timeout(cmp.Or(cfg.Timeout, 5*time.Second)), nats.PermissionErrOnSubscribe(true),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats.disconnected", slog.String("error", err.Error()))
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("nats.reconnected") }),
		// A publish that is not permitted shows here only.
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Error("nats.error", slog.String("error", err.Error()))
		}),
	}
	if cfg.Background {
		opts = append(opts, nats.RetryOnFailedConnect(true), nats.ConnectHandler(func(*nats.Conn) { log.Info("nats.connected") }))
	}
	switch {
	case cfg.CredsFile != "":
		opts = append(opts, nats.UserCredentials(cfg.CredsFile))
	case cfg.NKeyFile != "":
		o, err := nats.NkeyOptionFromSeed(cfg.NKeyFile)
		if err != nil {
			return nil, err
		}
		opts = append(opts, o)
	case cfg.NKey != "":
		opts = append(opts, nats.Nkey(cfg.NKey, cfg.Sign))
	case cfg.User != "":
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Password))
	}
	if cfg.TLS != nil {
		secure := cfg.TLS.Clone()
		secure.MinVersion = max(secure.MinVersion, tls.VersionTLS13)
		opts = append(opts, nats.Secure(secure))
	}
	if cfg.InProcess != nil {
		opts = append(opts, nats.InProcessServer(cfg.InProcess))
	}
	return opts, nil
}
