package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/attempt"
)

// hintTries is how many times any server is asked for one message. Each time may be
// the turn of the same one.
const hintTries = 10

// hinted is stored for a service, answered by any server of the stream, also one
// that lags behind. It asks on a subject that names the subject to be read, so
// that the right to read can be given for one of them; what stored asks for names
// the stream alone. The server that is asked may be paused, so that others are asked
// as well.
func (b *Bus) hinted(ctx context.Context, stream, subject string) (*nats.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	get := func(ctx context.Context) (*nats.RawStreamMsg, error) { return b.direct(ctx, stream, subject) }
	never := func(error) bool { return false }
	return attempt.First(ctx, never, slices.Repeat([]func(context.Context) (*nats.RawStreamMsg, error){get}, hintTries)...)
}

// direct asks any server of a stream for the last message on a subject.
func (b *Bus) direct(ctx context.Context, stream, subject string) (*nats.RawStreamMsg, error) {
	m, err := b.nc.RequestWithContext(ctx, b.cfg.APIPrefix+".DIRECT.GET."+stream+"."+subject, nil)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	switch status := m.Header.Get("Status"); {
	case status == "404":
		return nil, nil
	case status != "":
		return nil, fmt.Errorf("stream %s: status %s", stream, status)
	}
	seq, err := strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("stream %s: the answer has no sequence", stream)
	}
	return &nats.RawStreamMsg{Subject: m.Header.Get(jetstream.SubjectHeader), Sequence: seq, Header: m.Header, Data: m.Data}, nil
}

// firstAnswer is how long the first message of a batched answer is waited for before
// another server is asked. It grows by as much with each try.
const firstAnswer = 100 * time.Millisecond

// untilBegun calls do until it has begun to answer: a server that is paused may have
// been asked. do calls begun with the first message of the answer.
func untilBegun[T any](ctx context.Context, do func(ctx context.Context, begun func()) (T, error)) (T, error) {
	for wait := firstAnswer; ; wait += firstAnswer {
		try, cancel := context.WithCancelCause(ctx)
		late := time.AfterFunc(wait, func() { cancel(errPaused) })
		v, err := do(try, func() { late.Stop() })
		late.Stop()
		paused := errors.Is(context.Cause(try), errPaused)
		cancel(nil)
		if !paused || ctx.Err() != nil {
			return v, err
		}
	}
}

// errPaused is why an attempt of untilBegun ends.
var errPaused = errors.New("the server does not answer")
