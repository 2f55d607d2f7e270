package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Node says what a running program is. It is not signed: it is a hint for people.
type Node struct {
	// Source is the ce-source of its events, Config the digest of its configuration.
	Source  string `json:"source"`
	Config  string `json:"config"`
	Version string `json:"version"`
	// StartedAt is when it read its configuration.
	StartedAt time.Time `json:"started_at"`
}

// NodePing is the subject on which running programs are asked what they are.
func (n Names) NodePing() string { return n.prefix + "node.ping" }

// AnswerPings answers those who ask what runs, until stop is called. A program without
// the permission answers nobody.
func (b *Bus) AnswerPings(n Node) (stop func() error, err error) {
	body, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	s, err := b.nc.Subscribe(b.cfg.Names.NodePing(), func(m *nats.Msg) { _ = m.Respond(body) }) // who asks waits no longer than for a while
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", b.cfg.Names.NodePing(), err)
	}
	return s.Unsubscribe, nil
}

// Nodes asks what runs, and returns the answers that come within a time.
func (b *Bus) Nodes(ctx context.Context, wait time.Duration) ([]Node, error) {
	inbox := b.nc.NewInbox()
	s, err := b.nc.SubscribeSync(inbox)
	if err != nil {
		return nil, wrap("ask what runs", err)
	}
	defer func() { _ = s.Unsubscribe() }() // the connection may be gone
	if err := b.nc.PublishRequest(b.cfg.Names.NodePing(), inbox, nil); err != nil {
		return nil, wrap("ask what runs", err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var out []Node
	for {
		m, err := s.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return out, nil
		}
		if err != nil {
			return out, wrap("ask what runs", err)
		}
		var n Node
		if json.Unmarshal(m.Data, &n) == nil && n.Source != "" {
			out = append(out, n)
		}
	}
}
