package natskv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/attempt"
	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/store"
)

// lookup returns the last message of a key. A key that was deleted is not found;
// its message is returned with the error.
type lookup func(ctx context.Context, key string) (*jetstream.RawStreamMsg, error)

// last is the [lookup] for whatever is decided or written: the leader of the
// bucket answers, so it sees every write that was acknowledged before.
func (d *Driver) last(ctx context.Context, key string) (*jetstream.RawStreamMsg, error) {
	m, err := d.leader.GetLastMsg("KV_"+d.cfg.Bucket, d.subject(key), nats.Context(ctx))
	return live((*jetstream.RawStreamMsg)(m), err)
}

// peek is the [lookup] of a caller that has written nothing: it is last unless
// [Config.Direct] lets any server answer. If that one is paused, the leader is asked.
func (d *Driver) peek(ctx context.Context, key string) (*jetstream.RawStreamMsg, error) {
	if !d.cfg.Direct {
		return d.last(ctx, key)
	}
	return attempt.First(ctx, isNotFound,
		func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return live(d.stream.GetLastMsgForSubject(ctx, d.subject(key)))
		},
		func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return d.last(ctx, key) },
	)
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

func live(m *jetstream.RawStreamMsg, err error) (*jetstream.RawStreamMsg, error) {
	if err != nil {
		return nil, classify(err)
	}
	if m.Header.Get(kvOperation) != "" {
		return m, fmt.Errorf("%w: deleted", store.ErrNotFound)
	}
	return m, nil
}

// lead returns a client of the same API as js. Package jetstream sends every
// read of a stream that allows direct gets to any of its servers; the client
// before it still asks the leader.
func lead(js jetstream.JetStream) (nats.JetStreamContext, error) {
	o := js.Options()
	return js.Conn().JetStream(nats.APIPrefix(o.APIPrefix), nats.Domain(o.Domain))
}

// pause waits before a compare-and-set is tried again, longer with each try, and
// for a random part of that: a write of another process that is on its way to the
// other servers makes ours fail until it has arrived. Before the first it does
// not wait.
func pause(ctx context.Context, try int) {
	if try > 0 {
		backoff.Pause(ctx, backoff.Random(backoff.Delay(try, 2*time.Millisecond, 128*time.Millisecond)))
	}
}
