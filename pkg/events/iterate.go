package events

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// askAgain is how soon after a message an iterator is asked once more.
const askAgain = 50 * time.Millisecond

// steady returns the Next of an iterator. An iterator requests messages only when
// it is asked, and not while it is still sending the request before: when the
// messages of that one have all come by then, it would wait until its heartbeat
// fails, a minute, before it requests any more. So it is asked again soon.
func steady(iter jetstream.MessagesContext) func() (jetstream.Msg, error) {
	soon := false
	return func() (jetstream.Msg, error) {
		if soon {
			m, err := iter.Next(jetstream.NextMaxWait(askAgain))
			if !errors.Is(err, nats.ErrTimeout) {
				return m, err
			}
		}
		m, err := iter.Next()
		soon = err == nil
		return m, err
	}
}
