package events

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoQuorum is wrapped by the error of [Bus.Quorum].
var ErrNoQuorum = errors.New("the bus has no quorum")

// Quorum returns an error that wraps [ErrNoQuorum] if the server of a cluster that this
// process is connected to cannot have a message stored by the majority: then reads of
// the bus fail, or answer from the past. It publishes the barrier of [Bus.Fleet]. An
// error of another kind, such as a missing permission, says nothing about the quorum,
// and Quorum returns nil.
func (b *Bus) Quorum(ctx context.Context) error {
	if b.nc.ConnectedClusterName() == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream := b.cfg.Names.UsesStream()
	err := WithPermission(b.nc, func() error {
		short, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		_, err := b.js.PublishMsg(short, &nats.Msg{Subject: b.cfg.Names.barrier()}, jetstream.WithRetryAttempts(0))
		return err
	})
	if !isUnanswered(err) {
		return nil
	}
	if _, err := b.js.Stream(ctx, stream); errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // nothing was set up
	}
	return fmt.Errorf("%w: the NATS server %s cannot have a message stored in stream %s, so what it says of the bus may be old; ask a server that is in contact with most of the cluster: %w",
		ErrNoQuorum, b.nc.ConnectedServerName(), stream, err)
}

// isUnanswered reports whether err is that of a request that no leader answered.
func isUnanswered(err error) bool {
	if e, ok := errors.AsType[jetstream.JetStreamError](err); ok && e.APIError() != nil {
		return e.APIError().Code >= 500
	}
	for _, one := range []error{context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse} {
		if errors.Is(err, one) {
			return !errors.Is(err, nats.ErrPermissionViolation)
		}
	}
	return false
}
