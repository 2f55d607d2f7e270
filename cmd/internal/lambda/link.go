package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store"
)

// link is the connection to NATS, kept from one invocation to the next.
type link struct {
	cfg     *config.Config
	timeout time.Duration // of one call, and of connecting
	log     *slog.Logger
	lookup  func(context.Context) (func(string) (string, bool), error)

	mu    sync.Mutex
	parts *wire.Parts
}

// alive is how long a connection that was kept has to prove that it still works:
// while nothing is invoked the process is frozen, and the other side may be gone.
const alive = time.Second

// bus returns the bus of what reach returns.
func (l *link) bus(ctx context.Context) (*events.Bus, error) {
	p, err := l.reach(ctx)
	if err != nil {
		return nil, err
	}
	return p.Bus, nil
}

// reach returns parts with a connection that works, or an error after the
// timeout.
func (l *link) reach(ctx context.Context) (*wire.Parts, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	if l.parts != nil {
		if l.works(ctx) {
			return l.parts, nil
		}
		l.parts.Conn.Close()
		l.parts = nil
	}
	lookup, err := l.lookup(ctx)
	if err != nil {
		return nil, err
	}
	l.parts, err = wire.Open(ctx, wire.Options{
		Config: l.cfg, Role: "lambda", Connect: events.ConnectConfig{Timeout: l.timeout}, LookupEnv: lookup, Logger: l.log,
	})
	return l.parts, err
}

func (l *link) works(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, alive)
	defer cancel()
	return l.parts.Conn.IsConnected() && l.parts.Conn.FlushWithContext(ctx) == nil
}

func (l *link) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parts == nil {
		return nil
	}
	return l.parts.Close()
}

// errCredentials says no more, because the decoder's words quote the value.
var errCredentials = errors.New("lambda.credentials: the secret is no JSON object of strings")

// credentials returns how variables that hold secrets of the program are read:
// from the environment, then from the secret that the configuration names.
func (f *Function) credentials(ctx context.Context) (func(string) (string, bool), error) {
	env := f.o.LookupEnv
	if env == nil {
		env = os.LookupEnv
	}
	name := f.o.Config.Lambda.Credentials
	if name == "" {
		return env, nil
	}
	t, err := f.secrets.locate(ctx, name)
	if err != nil {
		return nil, err
	}
	_, value, err := t.acct.store.Get(ctx, t.spec.StorePath(), store.Selector{})
	if err != nil {
		return nil, err
	}
	var held map[string]string
	if json.Unmarshal(value.Reveal(), &held) != nil {
		return nil, errCredentials
	}
	return func(key string) (string, bool) {
		if v, ok := env(key); ok && v != "" {
			return v, true
		}
		v, ok := held[key]
		return v, ok
	}, nil
}
