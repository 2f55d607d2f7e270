package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/backoff"
)

// Pauses between two tries of [Await].
const (
	awaitBase = 250 * time.Millisecond
	awaitCap  = 5 * time.Second
)

// AwaitConfig says how [Await] tells what it waits for.
type AwaitConfig struct {
	// Reason, if set, is called with the error of each try that failed.
	Reason func(error)
	// Logger hears of each new reason once. Nil means slog.Default.
	Logger *slog.Logger
}

// Await calls do until it succeeds. It tries again only after an error that waiting
// may mend, see [Waitable]; any other is returned at once, and so is the last error
// when ctx ends. An error that a missing permission caused names the permission.
func Await(ctx context.Context, nc *nats.Conn, cfg AwaitConfig, do func(context.Context) error) error {
	log, said := cmp.Or(cfg.Logger, slog.Default()), ""
	for try := 1; ; try++ {
		err := WithPermission(nc, func() error { return do(ctx) })
		if err == nil || !Waitable(err) || ctx.Err() != nil {
			return err
		}
		if cfg.Reason != nil {
			cfg.Reason(err)
		}
		if reason := err.Error(); reason != said {
			said = reason
			log.LogAttrs(ctx, slog.LevelWarn, "nats.waiting", slog.String("error", reason), slog.String("remedy", "nothing if servers or other programs are starting; "+
				"otherwise see whether the cluster has a quorum and this program its permissions"))
		}
		if !backoff.Pause(ctx, backoff.Delay(try, awaitBase, awaitCap)) {
			return err
		}
	}
}

// Await is the function Await on the connection of the bus.
func (b *Bus) Await(ctx context.Context, do func(context.Context) error) error {
	return Await(ctx, b.nc, AwaitConfig{Logger: b.log}, do)
}

// notClustered is the error code of a request for replicas to a single server.
const notClustered jetstream.ErrorCode = 10074

// noPeers is the error code of a cluster that lacks servers for all replicas.
const noPeers jetstream.ErrorCode = 10005

// Waitable reports whether err says that the bus, a quorum, a stream, a bucket or a
// permission is not available yet. A setting that is wrong is not waitable.
func Waitable(err error) bool {
	if e, ok := errors.AsType[jetstream.JetStreamError](err); ok && e.APIError() != nil {
		api := e.APIError()
		return api.ErrorCode == noPeers || api.Code == 404 || api.Code >= 500 && api.ErrorCode != notClustered
	}
	if e, ok := errors.AsType[nats.JetStreamError](err); ok && e.APIError() != nil {
		return e.APIError().Code == 404 || e.APIError().Code >= 500
	}
	for _, one := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, jetstream.ErrNoStreamResponse, nats.ErrNoStreamResponse,
		jetstream.ErrStreamNotFound, nats.ErrStreamNotFound, jetstream.ErrConsumerNotFound, nats.ErrPermissionViolation,
		jetstream.ErrJetStreamNotEnabled, nats.ErrJetStreamNotEnabled, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrNoServers,
	} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// WithPermission calls do. The server tells of a request that is not permitted on the
// connection only, and the request itself gets no answer: if that has happened, the
// error names the permission.
func WithPermission(nc *nats.Conn, do func() error) error {
	before := nc.LastError()
	err := do()
	if last := nc.LastError(); err != nil && !errors.Is(err, nats.ErrPermissionViolation) && last != before && errors.Is(last, nats.ErrPermissionViolation) { //nolint:errorlint // the same error, not one like it
		return fmt.Errorf("%w: %w; permit that to the user of this program", err, last)
	}
	return err
}

// reason returns err as a text that is the same for each try with the same outcome.
func reason(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok { // it also names the local port
		return fmt.Sprintf("%s %v: %v", op.Op, op.Addr, op.Err)
	}
	return err.Error()
}
