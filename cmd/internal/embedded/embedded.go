// Package embedded runs a NATS server with JetStream inside this process: all
// that a single node needs of a bus and a store. It is the only package outside
// of tests that links the server, so that programs which join a cluster do
// without its 10 MB.
//
// It forms no cluster and reads no server configuration file: operators who need
// either runs nats-server and sets nats.url.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/tradepulse/rotator/internal/newfile"
)

// Options say how to run the server. StoreDir is required.
type Options struct {
	// StoreDir is where streams and buckets are kept.
	StoreDir string
	// Listen is the address for other processes, host:port; port 0 takes a free
	// one. "" serves this process only.
	Listen string
	// SyncInterval is how long an acknowledged write may stay unsynced; 0 syncs
	// each before it is acknowledged.
	SyncInterval time.Duration
	// Operators are the public nkeys that may connect over Listen. The
	// connection of this process needs none.
	Operators []string
	// Logger gets the server's own warnings and errors; nil means slog.Default.
	Logger *slog.Logger
}

// readyTimeout bounds the start; recovering a million timers takes 13 s.
const readyTimeout = 2 * time.Minute

// Server is a running server.
type Server struct {
	*server.Server
	// Operator is the key with which this process connects.
	Operator nkeys.KeyPair

	lock *os.File
}

// Start runs a server and returns when its streams are recovered. It fails when
// another process has the directory or the address.
func Start(ctx context.Context, o Options) (*Server, error) {
	own, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("embedded nats-server: %w", err)
	}
	opts, err := o.server(own)
	if err != nil {
		return nil, fmt.Errorf("embedded nats-server: %w", err)
	}
	held, err := lock(o.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("embedded nats-server: %w", err)
	}
	s, err := o.start(ctx, opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded nats-server: %w", err), held.Close())
	}
	return &Server{Server: s, Operator: own, lock: held}, nil
}

func (o Options) start(ctx context.Context, opts *server.Options) (*server.Server, error) {
	if err := free(ctx, o.Listen); err != nil {
		return nil, err
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, err
	}
	log := o.Logger
	if log == nil {
		log = slog.Default()
	}
	s.SetLoggerV2(logger{log}, false, false, false)
	s.Start()
	if err := ready(ctx, s); err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, err
	}
	return s, nil
}

func (o Options) server(own nkeys.KeyPair) (*server.Options, error) {
	if o.StoreDir == "" {
		return nil, errors.New("no store directory")
	}
	if err := os.MkdirAll(o.StoreDir, 0o700); err != nil {
		return nil, err
	}
	pub, err := own.PublicKey()
	if err != nil {
		return nil, err
	}
	opts := &server.Options{
		ServerName: "rotator", JetStream: true, StoreDir: o.StoreDir, DontListen: o.Listen == "",
		NoSigs: true, SyncInterval: o.SyncInterval, SyncAlways: o.SyncInterval <= 0,
		Nkeys: []*server.NkeyUser{{Nkey: pub}},
	}
	for _, k := range o.Operators {
		opts.Nkeys = append(opts.Nkeys, &server.NkeyUser{Nkey: k})
	}
	if o.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("node.listen: %w", err)
	}
	opts.Host = host
	if opts.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("node.listen %q: the port is not a number", o.Listen)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, nil
}

// ready waits until the server takes connections and JetStream works: a server
// whose JetStream cannot start says so in its log only.
func ready(ctx context.Context, s *server.Server) error {
	deadline := time.Now().Add(readyTimeout)
	for !s.ReadyForConnections(100 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !s.Running() || time.Now().After(deadline) {
			return errors.New("it did not start; see the lines above")
		}
	}
	if h := s.Healthz(nil); !s.JetStreamEnabled() || h.Status != "ok" {
		return fmt.Errorf("JetStream does not work: %s", h.Error)
	}
	return nil
}

// Close stops the server and waits until its files are closed.
func (s *Server) Close() {
	s.Shutdown()
	s.WaitForShutdown()
	_ = s.lock.Close() // closed twice by those who close twice
}

// OperatorKey returns the key under which commands of this machine's operator
// connect, made on first use in a file that only the owner can read.
func OperatorKey(dataDir string) (path, public string, err error) {
	path = filepath.Join(dataDir, "operator.nk")
	seed, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		seed, err = createKey(path)
	}
	if err != nil {
		return "", "", err
	}
	kp, err := nkeys.FromSeed(seed)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", path, err)
	}
	public, err = kp.PublicKey()
	return path, public, err
}

func createKey(path string) ([]byte, error) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	seed, err := kp.Seed()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return seed, newfile.Write(path, seed, 0o600)
}

// logger passes on what a person has to see. The server's own Fatal does not
// end the process.
type logger struct{ log *slog.Logger }

func (l logger) Noticef(string, ...any)         {}
func (l logger) Debugf(string, ...any)          {}
func (l logger) Tracef(string, ...any)          {}
func (l logger) Warnf(format string, v ...any)  { l.say(recovery(format), format, v) }
func (l logger) Errorf(format string, v ...any) { l.say(slog.LevelError, format, v) }
func (l logger) Fatalf(format string, v ...any) { l.say(slog.LevelError, format, v) }

// recovery returns the level of a warning: that an index is outdated is normal
// after a process was killed, and the server makes it anew.
func recovery(format string) slog.Level {
	if strings.Contains(format, "state is outdated; attempting to recover") {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

func (l logger) say(at slog.Level, f string, v []any) {
	l.log.LogAttrs(context.Background(), at, "nats.server", slog.String("message", fmt.Sprintf(f, v...)))
}
