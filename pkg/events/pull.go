package events

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// pullBatch is how many messages one request of a puller asks for.
	pullBatch = 500
	// pullExpiry is how long a request waits for them, and pullHeartbeat how often the
	// server says meanwhile that it does.
	pullExpiry    = 30 * time.Second
	pullHeartbeat = 15 * time.Second
)

// message is one of a stream, as a consumer delivers it.
type message struct {
	record

	header  nats.Header
	nth     uint64 // of the consumer, from 1
	pending uint64 // behind it
}

// puller takes the messages of a pull consumer that are not acknowledged.
//
// It is not the iterator of package jetstream, which takes a message without a body
// for a word of the server if its publisher has set the header Status: it would end
// at it, or leave it out. A stored message has a reply subject that only the server
// sets, whatever its headers are.
type puller struct {
	nc      *nats.Conn
	sub     *nats.Subscription
	subject string // of a request
	in      chan *nats.Msg
	link    chan nats.Status
	left    int // messages that the last request still waits for
}

// pull begins to take the messages of a consumer. The caller stops it.
func (b *Bus) pull(stream, consumer string) (*puller, error) {
	p := &puller{nc: b.nc, subject: b.cfg.APIPrefix + ".CONSUMER.MSG.NEXT." + stream + "." + consumer, in: make(chan *nats.Msg, 2*pullBatch)}
	var err error
	if p.sub, err = b.nc.ChanSubscribe(b.nc.NewInbox(), p.in); err != nil {
		return nil, err
	}
	p.link = b.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	return p, nil
}

func (p *puller) stop() {
	p.nc.RemoveStatusListener(p.link)
	_ = p.sub.Unsubscribe() // fails only on a closed connection
}

// next returns the next message. After an error the puller is of no use any more.
func (p *puller) next(ctx context.Context) (message, error) {
	silent := time.NewTimer(2 * pullHeartbeat)
	defer silent.Stop()
	for {
		if err := p.request(); err != nil {
			return message{}, err
		}
		select {
		case m := <-p.in:
			if strings.HasPrefix(m.Reply, "$JS.ACK.") {
				p.left--
				return messageOf(m)
			}
			if err := p.status(m); err != nil {
				return message{}, err
			}
			silent.Reset(2 * pullHeartbeat)
		case link := <-p.link: // the zero Status is DISCONNECTED
			if link != nats.CONNECTED {
				return message{}, nats.ErrConnectionClosed
			}
			p.left = 0 // the request went with the connection
		case <-silent.C:
			if p.nc.IsConnected() {
				return message{}, jetstream.ErrNoHeartbeat
			}
			silent.Reset(2 * pullHeartbeat)
		case <-ctx.Done():
			return message{}, ctx.Err()
		}
	}
}

// request asks for messages unless the server still owes some.
func (p *puller) request() error {
	if p.left > 0 {
		return nil
	}
	body, err := json.Marshal(map[string]any{"batch": pullBatch, "expires": pullExpiry, "idle_heartbeat": pullHeartbeat})
	if err != nil {
		return err
	}
	p.left = pullBatch
	return p.nc.PublishRequest(p.subject, p.sub.Subject, body)
}

// status takes what the server says of the request. An error ends the puller.
func (p *puller) status(m *nats.Msg) error {
	status, text := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case status == "100": // a heartbeat
		return nil
	case status == "408": // it has waited for as long as it was to
		p.left = 0
		return nil
	case status == "409" && strings.EqualFold(text, "Consumer Deleted"):
		return jetstream.ErrConsumerDeleted
	case status == "503":
		return nats.ErrNoResponders
	default:
		return fmt.Errorf("the server ended the request with status %s %s", status, text)
	}
}

// messageOf returns the message that a consumer has delivered.
func messageOf(m *nats.Msg) (message, error) {
	meta, err := m.Metadata()
	if err != nil {
		return message{}, err
	}
	return message{
		record: record{subject: m.Subject, body: m.Data, seq: meta.Sequence.Stream, at: meta.Timestamp},
		header: m.Header, nth: meta.Sequence.Consumer, pending: meta.NumPending,
	}, nil
}

// gather sends a request and calls fn with each message of the answer, until fn returns
// true, or ctx or the connection ends. It takes them from a callback: to wait for the
// next one is to fail at a message without a body whose publisher has set the header
// Status to that of a request without an answer.
func (b *Bus) gather(ctx context.Context, subject string, body []byte, fn func(*nats.Msg) (last bool)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := make(chan *nats.Msg)
	sub, err := b.nc.Subscribe(b.nc.NewRespInbox(), func(m *nats.Msg) {
		select {
		case in <- m:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return err
	}
	sub.SetClosedHandler(func(string) { cancel() })
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	if err := b.nc.PublishRequest(subject, sub.Subject, body); err != nil {
		return err
	}
	for {
		select {
		case m := <-in:
			if fn(m) {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}
