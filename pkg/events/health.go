package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Probe is a stream and the subject on which its probes are published. The record of
// a probe has no content, and nothing reads it.
type Probe struct{ Stream, Subject string }

// StreamHealth is what was found of one stream.
type StreamHealth struct {
	Stream string
	// Err is why nothing can be published to it, nil if a probe was stored.
	Err error
	// Replicas is how many servers are to hold it, and Missing how many of them are
	// not current.
	Replicas, Missing int
	// Bytes is its size; MaxBytes its bound, not positive for none.
	Bytes, MaxBytes int64
	// Messages is how many it has; MaxMessages is their bound, not positive for none.
	Messages, MaxMessages int64
	// Skew is by how much the clock of the server is ahead of this process's, as far
	// as its answer was timely; it is valid if Known.
	Skew  time.Duration
	Known bool
}

// Probe is the subject of the probes of a stream of ours.
func (n Names) Probe(stream string) string { return n.prefix + "probe." + stream }

// probeTTL is how long a stream that allows it keeps a probe.
const probeTTL = "1m"

// probeTimeout bounds each call of a probe. A server that cannot store a message gives
// no answer.
const probeTimeout = 3 * time.Second

// Health publishes a probe to each stream of the bus and to the others given, and
// reads their state.
func (b *Bus) Health(ctx context.Context, others ...Probe) []StreamHealth {
	o := b.ensured.Load()
	if o == nil {
		o = &StreamOptions{}
	}
	own := b.cfg.Names.StreamConfigs(*o)
	out := make([]StreamHealth, len(own)+len(others))
	var wg sync.WaitGroup
	for i, c := range own {
		wg.Go(func() {
			out[i] = b.probe(ctx, Probe{Stream: c.Name, Subject: b.cfg.Names.Probe(c.Name)}, c.AllowMsgTTL)
		})
	}
	for i, p := range others {
		wg.Go(func() { out[len(own)+i] = b.probe(ctx, p, false) })
	}
	wg.Wait()
	return out
}

// probe returns the health of one stream. One that lacks the subject of its probes
// was deleted, or made by an older program: it is brought to what this one needs.
func (b *Bus) probe(ctx context.Context, p Probe, expires bool) StreamHealth {
	h := StreamHealth{Stream: p.Stream}
	h.Err = b.publishProbe(ctx, p, expires)
	if errors.Is(h.Err, jetstream.ErrNoStreamResponse) && b.restore(ctx, jetstream.ErrStreamNotFound) == nil {
		h.Err = b.publishProbe(ctx, p, expires)
	}
	b.look(ctx, &h)
	return h
}

// look adds the state of a stream to its health.
func (b *Bus) look(ctx context.Context, h *StreamHealth) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	begin := time.Now()
	s, err := b.js.Stream(ctx, h.Stream)
	if err != nil {
		h.Err = errors.Join(h.Err, fmt.Errorf("stream %s: %w", h.Stream, err))
		return
	}
	info, took := s.CachedInfo(), time.Since(begin)
	h.Replicas, h.Bytes, h.MaxBytes = info.Config.Replicas, int64(info.State.Bytes), info.Config.MaxBytes
	h.Missing = missing(info)
	h.Messages, h.MaxMessages = int64(info.State.Msgs), info.Config.MaxMsgs
	if !info.TimeStamp.IsZero() && took < time.Second {
		h.Skew, h.Known = info.TimeStamp.Sub(begin.Add(took/2)), true
	}
}

func (b *Bus) publishProbe(ctx context.Context, p Probe, expires bool) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	m := nats.NewMsg(p.Subject)
	if expires {
		m.Header.Set(jetstream.MsgTTLHeader, probeTTL)
	}
	err := WithPermission(b.nc, func() error {
		_, err := b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
		return err
	})
	return wrap("publish to stream "+p.Stream, err)
}

// missing returns how many replicas of a stream are not current. The leader is.
func missing(info *jetstream.StreamInfo) int {
	if info.Cluster == nil || info.Config.Replicas <= 1 {
		return 0
	}
	current := 0
	if info.Cluster.Leader != "" {
		current++
	}
	for _, r := range info.Cluster.Replicas {
		if r.Current && !r.Offline {
			current++
		}
	}
	return max(info.Config.Replicas-current, 0)
}

// LastSweep returns how long ago any scheduler finished a sweep, and false if the
// server does not know of one: none has since it started.
func (b *Bus) LastSweep(ctx context.Context) (ago time.Duration, known bool, err error) {
	c, err := b.js.Consumer(ctx, b.cfg.Names.RotationStream(), SchedulerConsumer)
	if err != nil {
		return 0, false, wrap("consumer "+SchedulerConsumer, err)
	}
	info := c.CachedInfo()
	if info.AckFloor.Last == nil {
		return 0, false, nil
	}
	return info.TimeStamp.Sub(*info.AckFloor.Last), true, nil
}
