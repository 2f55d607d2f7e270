package readers

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/events"
)

const (
	// maxLine bounds an entry of the log. A longer one is passed over.
	maxLine = 1 << 20
	// maxConns bounds the connections to a socket. An audit device has one.
	maxConns = 16
	// queued is how many sightings wait for the bus.
	queued = 4096
	// heartbeat is how often a listener says since when it missed nothing.
	heartbeat = 30 * time.Second
	// retryBase and retryCap bound the pause after a sighting that was not recorded.
	retryBase, retryCap = 100 * time.Millisecond, 5 * time.Second
	// drainTimeout bounds how long a process that ends still records.
	drainTimeout = 5 * time.Second
)

// Sources keeps what a listener says of itself; *events.Bus does.
type Sources interface {
	Source(ctx context.Context, store, name string) (events.ReadSource, uint64, error)
	RecordSource(ctx context.Context, s events.ReadSource, after uint64) (uint64, error)
}

// SocketConfig is what a [Socket] needs. Listen, Mount, Recorder and Sources are
// required.
type SocketConfig struct {
	// Name tells the listeners of a store apart. No two processes may have one.
	Name string
	// Listen is an address of loopback, or the path of a socket in the file system.
	Listen string
	Mount  Mount
	// Tolerate is how long the listener may be away without that counting as missed
	// reads.
	Tolerate time.Duration
	Recorder *Recorder
	Sources  Sources

	// Nil means slog.Default and the global provider.
	Logger        *slog.Logger
	MeterProvider metric.MeterProvider
}

// withDefaults returns c with its zero values replaced.
func (c SocketConfig) withDefaults() SocketConfig {
	c.Name = cmp.Or(c.Name, c.Mount.Store)
	c.Logger, c.MeterProvider = telemetry.Logger(c.Logger), telemetry.Meters(c.MeterProvider)
	return c
}

// Socket is what an audit device of type socket writes to. It reads as fast as it can
// whatever becomes of the entries: a server waits for its audit devices before it
// answers anything. What the bus does not take in time is dropped, and then the
// listener says that it has missed reads.
type Socket struct {
	cfg      SocketConfig
	listener net.Listener
	queue    chan events.Sighting
	entries  metric.Int64Counter

	left *events.Sighting // was in hand at the end; only record and then drain use it

	mu    sync.Mutex
	state events.ReadSource
	seq   uint64
	conns map[net.Conn]struct{}
	gap   chan struct{} // has an element when reads were missed and that was not told yet
}

// ListenSocket begins to listen. An address that is in use is an error.
func ListenSocket(ctx context.Context, cfg SocketConfig) (*Socket, error) {
	cfg = cfg.withDefaults()
	if cfg.Recorder == nil || cfg.Sources == nil || cfg.Mount.Store == "" {
		return nil, errors.New("readers: Mount, Recorder and Sources are required")
	}
	s := &Socket{cfg: cfg, queue: make(chan events.Sighting, queued), conns: map[net.Conn]struct{}{}, gap: make(chan struct{}, 1)}
	s.state.Store, s.state.Name = cfg.Mount.Store, cfg.Name
	m := telemetry.New(cfg.MeterProvider.Meter(scope))
	s.entries = m.Counter("rotator.readers.entries", "{entry}", "Entries of audit logs, by source and outcome: read, other, not_managed, malformed, dropped, refused.")
	if err := m.Err(); err != nil {
		return nil, fmt.Errorf("readers: %w", err)
	}
	var err error
	if s.listener, err = listen(ctx, cfg.Listen); err != nil {
		return nil, fmt.Errorf("readers: %w", err)
	}
	return s, nil
}

const scope = "github.com/tradepulse/rotator/pkg/readers"

// listen listens at an address, or on a socket in the file system in place of one that
// an earlier process left there.
func listen(ctx context.Context, at string) (net.Listener, error) {
	var lc net.ListenConfig
	if !strings.HasPrefix(at, "/") {
		return lc.Listen(ctx, "tcp", at)
	}
	if info, err := os.Stat(at); err == nil && info.Mode()&os.ModeSocket != 0 {
		if c, err := new(net.Dialer).DialContext(ctx, "unix", at); err == nil {
			_ = c.Close() // nothing was written
			return nil, fmt.Errorf("listen on %s: another process listens there", at)
		}
		if err := os.Remove(at); err != nil {
			return nil, err
		}
	}
	l, err := lc.Listen(ctx, "unix", at)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(at, 0o660); err != nil { //nolint:gosec // the server that writes there may be of the group
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Addr returns where the socket listens.
func (s *Socket) Addr() net.Addr { return s.listener.Addr() }

// Run takes what is written to the socket until ctx ends.
func (s *Socket) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	context.AfterFunc(ctx, s.close)
	g.Go(func() error { return s.accept(ctx) })
	g.Go(func() error { s.record(ctx); return nil })
	g.Go(func() error { s.beat(ctx); return nil })
	err := g.Wait()
	s.drain(ctx)
	return err
}

// close closes the listener and every connection.
func (s *Socket) close() {
	_ = s.listener.Close() // the process ends
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close() // it is only read
	}
}

func (s *Socket) accept(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := s.listener.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("readers: the listener of %s: %w", s.cfg.Name, err)
		case err != nil:
			backoff.Pause(ctx, retryBase) // such as too many open files
			continue
		}
		if !s.add(ctx, c) {
			s.count(ctx, "refused")
			s.missed("connections were refused")
			_ = c.Close() // nothing was written
			continue
		}
		wg.Go(func() {
			defer s.remove(c)
			s.read(ctx, c)
		})
	}
}

// add keeps a connection to be closed in the end, and returns false for one too many.
func (s *Socket) add(ctx context.Context, c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.conns) >= maxConns || ctx.Err() != nil {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Socket) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	_ = c.Close() // it was only read
}

// read takes the lines of one connection. It waits for nothing but the connection.
func (s *Socket) read(ctx context.Context, c io.Reader) {
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		line, whole, err := readLine(r)
		switch {
		case err == nil && whole:
			s.take(ctx, line)
		case err == nil:
			s.malformed(ctx)
		case len(line) > 0 && ctx.Err() == nil:
			s.malformed(ctx) // the connection broke within an entry
			return
		default:
			return
		}
	}
}

// readLine returns the next line. One that is too long is passed over to its end, and
// not whole.
func readLine(r *bufio.Reader) (line []byte, whole bool, err error) {
	whole = true
	for {
		part, err := r.ReadSlice('\n')
		if whole = whole && len(line)+len(part) <= maxLine; whole {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, whole, err
		}
	}
}

func (s *Socket) malformed(ctx context.Context) {
	s.count(ctx, "malformed")
	s.missed("an entry was not understood")
}

// take hands the sighting in a line to the queue.
func (s *Socket) take(ctx context.Context, line []byte) {
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	seen, at, ok, known := s.cfg.Mount.parse(line)
	switch {
	case !known:
		s.malformed(ctx)
		return
	case !ok:
		s.heard()
		s.count(ctx, "other")
		return
	}
	s.heard()
	if seen.SecretID, ok = s.cfg.Recorder.At(seen.Store, at); !ok {
		s.count(ctx, "not_managed")
		return
	}
	select {
	case s.queue <- seen:
		s.count(ctx, "read")
	default:
		s.count(ctx, "dropped")
		s.missed("the bus takes sightings too slowly")
	}
}

// record records what is queued. It repeats what the bus does not take, while the
// queue fills.
func (s *Socket) record(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case seen := <-s.queue:
			for attempt := 1; ; attempt++ {
				err := s.cfg.Recorder.Record(ctx, seen)
				if err == nil {
					break
				}
				if attempt == 1 {
					s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "readers.not_recorded", slog.String("audit_source", s.cfg.Name), slog.String("error", err.Error()))
				}
				if !backoff.Pause(ctx, backoff.Delay(attempt, retryBase, retryCap)) {
					s.left = &seen
					return
				}
			}
		}
	}
}

func (s *Socket) count(ctx context.Context, outcome string) {
	s.entries.Add(ctx, 1, metric.WithAttributes(attribute.String("source", s.cfg.Name), attribute.String("outcome", outcome)))
}
