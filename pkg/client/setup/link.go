package setup

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// link is the bus of a service over connections that follow each other. A
// connection comes back by itself after an outage or a refusal, but the server
// can close it for good, for a breach of the protocol. link then opens another
// one, subscribes again, and tells those who wait for a reconnect.
type link struct {
	// dial opens a connection and returns at once, also when no server answers.
	dial func(context.Context) (*nats.Conn, *events.Bus, error)
	log  *slog.Logger

	mu   sync.Mutex
	conn *nats.Conn
	bus  *events.Bus
	subs map[*subscription]struct{}
	back map[*func()]struct{} // called after a reconnect

	stop context.CancelFunc
	done chan struct{}
}

var _ client.Bus = (*link)(nil)

// subscription is a [link.SubscribeNotify] that has not been stopped.
type subscription struct {
	service string
	fn      func(context.Context, events.Delivery)
	stop    func() // ends it on the connection in use
}

// reopenPause is the least time between two connections.
const reopenPause = time.Second

// newLink returns a link whose first connection is conn. Close ends it.
func newLink(conn *nats.Conn, bus *events.Bus, log *slog.Logger, dial func(context.Context) (*nats.Conn, *events.Bus, error)) *link {
	ctx, cancel := context.WithCancel(context.Background())
	l := &link{
		dial: dial, log: cmp.Or(log, slog.Default()), conn: conn, bus: bus,
		subs: map[*subscription]struct{}{}, back: map[*func()]struct{}{}, stop: cancel, done: make(chan struct{}),
	}
	go l.run(ctx)
	return l
}

// run replaces each connection that is closed, until ctx ends.
func (l *link) run(ctx context.Context) {
	defer close(l.done)
	conn, _ := l.current()
	for events.AwaitClose(ctx, conn) != nil {
		for backoff.Pause(ctx, reopenPause) {
			err := l.reopen(ctx)
			if err == nil {
				conn, _ = l.current()
				l.log.LogAttrs(ctx, slog.LevelWarn, "nats.reopened", slog.String("message", "a new connection takes the place of the one that the server closed"))
				break
			}
			l.log.LogAttrs(ctx, slog.LevelError, "nats.closed", slog.String("error", err.Error()), slog.Duration("again_in", reopenPause))
		}
	}
}

// reopen opens a connection and moves all subscriptions to it.
func (l *link) reopen(ctx context.Context) error {
	conn, bus, err := l.dial(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.subs {
		if s.stop, err = bus.SubscribeNotify(ctx, s.service, s.fn); err != nil {
			conn.Close()
			return err
		}
	}
	l.conn, l.bus = conn, bus
	bus.OnReconnect(ctx, l.reconnected)
	if conn.IsConnected() {
		go l.reconnected()
	}
	return nil
}

func (l *link) reconnected() {
	l.mu.Lock()
	fns := make([]func(), 0, len(l.back))
	for fn := range l.back {
		fns = append(fns, *fn)
	}
	l.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
}

func (l *link) current() (*nats.Conn, *events.Bus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.conn, l.bus
}

// close ends the link and its connection.
func (l *link) close() {
	l.stop()
	<-l.done
	conn, _ := l.current()
	conn.Close()
}

// SubscribeNotify implements [client.Bus].
func (l *link) SubscribeNotify(ctx context.Context, service string, fn func(context.Context, events.Delivery)) (stop func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &subscription{service: service, fn: fn}
	if s.stop, err = l.bus.SubscribeNotify(ctx, service, fn); err != nil {
		return nil, err
	}
	l.subs[s] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs, s)
		s.stop()
	}, nil
}

// OnReconnect calls fn after each reconnect, and after a connection was opened in
// the place of another one, until ctx ends.
func (l *link) OnReconnect(ctx context.Context, fn func()) {
	l.mu.Lock()
	l.back[&fn] = struct{}{}
	l.bus.OnReconnect(ctx, fn)
	l.mu.Unlock()
	context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.back, &fn)
	})
}

// Connected reports whether the connection in use is up.
func (l *link) Connected() bool {
	_, bus := l.current()
	return bus.Connected()
}

// LastNotified implements [client.Bus].
func (l *link) LastNotified(ctx context.Context, service string, id secret.ID) (events.Announcement, error) {
	_, bus := l.current()
	return bus.LastNotified(ctx, service, id)
}

// Join implements [client.Bus].
func (l *link) Join(ctx context.Context, p events.Presence) (uint64, error) {
	_, bus := l.current()
	return bus.Join(ctx, p)
}

// Renew implements [client.Bus].
func (l *link) Renew(ctx context.Context, p events.Presence, after uint64) (uint64, error) {
	_, bus := l.current()
	return bus.Renew(ctx, p, after)
}

// WriteUse implements [client.Bus].
func (l *link) WriteUse(ctx context.Context, u events.Use) error {
	_, bus := l.current()
	return bus.WriteUse(ctx, u)
}
