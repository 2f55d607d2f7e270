package events

import (
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// identity returns the option that authenticates the connection, if any. Files are
// read at each login.
func (cfg ConnectConfig) identity(w *reconnects) ([]nats.Option, error) {
	switch {
	case cfg.CredsFile != "":
		return []nats.Option{nats.UserCredentials(cfg.CredsFile)}, nil
	case cfg.NKeyFile != "":
		return w.seedFile(cfg.NKeyFile)
	case cfg.NKey != "":
		return []nats.Option{nats.Nkey(cfg.NKey, cfg.Sign)}, nil
	case cfg.ReadPassword != nil:
		p := &password{user: cfg.User, last: cfg.Password, read: cfg.ReadPassword, log: w.log}
		return []nats.Option{nats.UserInfoHandler(p.login)}, nil
	case cfg.User != "":
		return []nats.Option{nats.UserInfo(cfg.User, cfg.Password)}, nil
	default:
		return nil, nil
	}
}

// password is the password of a user, read at each login.
type password struct {
	user string
	read func() (string, error)
	log  *slog.Logger

	mu   sync.Mutex
	last string
}

func (p *password) login() (user, pass string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, err := p.read()
	if err != nil {
		p.log.Error("nats.password", slog.String("error", err.Error()), slog.String("remedy", "the password from before is used until it can be read"))
		return p.user, p.last
	}
	p.last = now
	return p.user, now
}

// seedFile logs in with the nkey whose seed is in the file. nats.go names the public
// key before it asks for a signature: the first login after the seed was replaced is
// refused, and the next one names the new key.
func (w *reconnects) seedFile(path string) ([]nats.Option, error) {
	first, err := readSeed(path)
	if err != nil {
		return nil, err
	}
	public, err := first.PublicKey()
	first.Wipe()
	if err != nil {
		return nil, err
	}
	return []nats.Option{nats.Nkey(public, func(nonce []byte) ([]byte, error) {
		pair, err := readSeed(path)
		if err != nil {
			return nil, err
		}
		defer pair.Wipe()
		public, err := pair.PublicKey()
		if err != nil {
			return nil, err
		}
		if nc := w.conn.Load(); nc != nil {
			nc.Opts.Nkey = public // nats.go holds the lock of the connection
		}
		return pair.Sign(nonce)
	})}, nil
}

func readSeed(path string) (nkeys.KeyPair, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("nkey file: %w", err)
	}
	defer clear(text)
	pair, err := nkeys.ParseDecoratedNKey(text)
	if err != nil {
		return nil, fmt.Errorf("nkey file %s has no seed of an nkey", path)
	}
	return pair, nil
}
