package events

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// repollAfter is how soon after a message an iterator is polled once more.
const repollAfter = 50 * time.Millisecond

// nextWithRepoll returns the Next of an iterator. It works around an iterator that
// stalls between two pull requests: it requests messages only when it is polled,
// and not while it is still sending the request before. If the messages of that
// request have all come by then, it waits for its heartbeat, a minute, before it
// requests more. So it is polled again soon after each message.
func nextWithRepoll(iter jetstream.MessagesContext) func() (jetstream.Msg, error) {
	repoll := false
	return func() (jetstream.Msg, error) {
		if repoll {
			m, err := iter.Next(jetstream.NextMaxWait(repollAfter))
			if !errors.Is(err, nats.ErrTimeout) {
				return m, err
			}
		}
		m, err := iter.Next()
		repoll = err == nil
		return m, err
	}
}
