package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/natsext"

	"github.com/tradepulse/rotator/internal/backoff"
)

// ErrIncomplete means that the bus gave a part of an answer, or one from before
// what it had already acknowledged. Ask again.
var ErrIncomplete = errors.New("the answer is incomplete")

// barrierService takes the place of a service in the subject of a barrier. No
// service may use it.
const barrierService = "_barrier"

const (
	// snapshotSubjects is how many subjects one request asks for. The server
	// refuses more than 1,024.
	snapshotSubjects = 500
	// snapshotBytes is after how many bytes the server ends one answer. With the
	// longest report on top, an answer takes 10 s at 100 kB/s.
	snapshotBytes = 512 << 10
	// snapshotPause is how long a replica that lags is given to catch up.
	snapshotPause = 50 * time.Millisecond
	// barrierLife is how long a barrier stays in its stream. It outlives any
	// snapshot that reads behind it.
	barrierLife = 5 * time.Minute
)

// snapshot calls fn with the last message of every subject of a stream that fits
// the pattern: all that was acknowledged before the call. The subjects of
// barriers are left out.
//
// Any replica may answer a batched read, and any member of a group without a
// leader lists its subjects, so an answer alone proves nothing. publishBarrier
// writes a message, which takes a quorum, and returns its subject and sequence;
// the list and every answer have to reach that sequence. A subject that was
// listed and that a later answer lacks has ended in between.
func (b *Bus) snapshot(ctx context.Context, stream, pattern string, publishBarrier func(context.Context) (string, uint64, error), fn func(subject string, body []byte)) error {
	barrier, seq, err := publishBarrier(ctx)
	if err != nil {
		return fmt.Errorf("publish a barrier: %w", err)
	}
	subjects, listed, err := b.subjects(ctx, stream, pattern, seq)
	if err != nil {
		return err
	}
	subjects = slices.DeleteFunc(subjects, func(s string) bool { return s == barrier })
	for chunk := range slices.Chunk(subjects, snapshotSubjects) {
		for len(chunk) > 0 {
			if chunk, err = b.readChunk(ctx, stream, barrier, chunk, listed, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// barrier publishes a barrier among the reports. A Bus replaces its own: the
// stream keeps one message per subject.
func (b *Bus) barrier(ctx context.Context) (subject string, seq uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	subject = b.cfg.Names.Report(barrierService, b.nonce)
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: subject}, jetstream.WithMsgTTL(barrierLife))
	if err != nil {
		return "", 0, err
	}
	return subject, ack.Sequence, nil
}

// subjects returns the subjects of a stream that fit the pattern, in order, and
// the sequence that the list has reached, which is at least atLeast.
func (b *Bus) subjects(ctx context.Context, stream, pattern string, atLeast uint64) ([]string, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, 0, err
	}
	for {
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(pattern))
		if err != nil {
			return nil, 0, fmt.Errorf("list %s: %w", pattern, err)
		}
		if info.State.LastSeq >= atLeast {
			return slices.Sorted(maps.Keys(info.State.Subjects)), info.State.LastSeq, nil
		}
		if !backoff.Pause(ctx, snapshotPause) {
			return nil, 0, fmt.Errorf("list %s: %w: the list ends at sequence %d, and %d was acknowledged", pattern, ErrIncomplete, info.State.LastSeq, atLeast)
		}
	}
}

// readChunk passes on what one answer holds of the subjects and returns those
// that it has not reached.
func (b *Bus) readChunk(ctx context.Context, stream, barrier string, subjects []string, atLeast uint64, fn func(subject string, body []byte)) (left []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		a, err := b.lastOf(ctx, stream, append(slices.Clone(subjects), barrier))
		if err != nil {
			return nil, err
		}
		if a.upTo < atLeast {
			if !backoff.Pause(ctx, snapshotPause) {
				return nil, fmt.Errorf("%w: the replica that answers is at sequence %d, and %d was acknowledged", ErrIncomplete, a.upTo, atLeast)
			}
			continue
		}
		have := make(map[string]struct{}, len(a.msgs))
		for _, m := range a.msgs {
			subject := serverHeader(m, jetstream.SubjectHeader)
			have[subject] = struct{}{}
			if subject != barrier {
				fn(subject, m.Data)
			}
		}
		if a.pending == 0 {
			return nil, nil
		}
		if len(a.msgs) == 0 {
			return nil, fmt.Errorf("%w: %d messages were held back", ErrIncomplete, a.pending)
		}
		return slices.DeleteFunc(slices.Clone(subjects), func(s string) bool { _, ok := have[s]; return ok }), nil
	}
}

// answer is what one batched read returned.
type answer struct {
	msgs    []*nats.Msg
	pending uint64 // messages that did not fit
	upTo    uint64 // the last sequence of the replica that answered, 0 if it has none of the subjects
}

// lastOf asks for the last message of each subject. The answer is whole up to
// its end marker, or an error: the deadline, a lost connection, a slow reader
// and a server that cannot load a message all cut it short.
func (b *Bus) lastOf(ctx context.Context, stream string, subjects []string) (answer, error) {
	body, err := json.Marshal(map[string]any{"multi_last": subjects, "max_bytes": snapshotBytes})
	if err != nil {
		return answer{}, err
	}
	var end *nats.Msg
	msgs, err := natsext.RequestMany(ctx, b.nc, b.cfg.APIPrefix+".DIRECT.GET."+stream, body, natsext.RequestManySentinel(func(m *nats.Msg) bool {
		if serverHeader(m, jetstream.SubjectHeader) == "" {
			end = m
		}
		return end != nil
	}))
	if err != nil {
		return answer{}, fmt.Errorf("stream %s: %w", stream, err)
	}
	var a answer
	for m, err := range msgs {
		if err != nil {
			return answer{}, fmt.Errorf("stream %s: %w", stream, err)
		}
		a.msgs = append(a.msgs, m)
	}
	if err := a.check(end); err != nil {
		return answer{}, fmt.Errorf("stream %s: %w after %d messages: %w", stream, ErrIncomplete, len(a.msgs), err)
	}
	return a, nil
}

// check takes the end marker and proves that nothing before it was lost: every
// message names the sequence of the one before, and so does the marker.
func (a *answer) check(end *nats.Msg) (err error) {
	if end == nil {
		return errors.New("no end marker came")
	}
	switch status := serverHeader(end, "Status"); {
	case status == "404" && len(a.msgs) == 0:
		return nil
	case status != "204":
		return fmt.Errorf("status %s %s", status, serverHeader(end, "Description"))
	}
	before := "0"
	for _, m := range append(slices.Clone(a.msgs), end) {
		if serverHeader(m, headerLastSequence) != before {
			return errors.New("a message was lost")
		}
		before = serverHeader(m, jetstream.SequenceHeader)
	}
	if a.pending, err = strconv.ParseUint(serverHeader(end, headerNumPending), 10, 64); err != nil {
		return errors.New("the end marker does not count what is left")
	}
	if a.upTo, err = strconv.ParseUint(serverHeader(end, headerUpTo), 10, 64); err != nil {
		return errors.New("the end marker has no sequence")
	}
	return nil
}

// Headers of a batched answer; see ADR-31 of NATS.
const (
	headerNumPending   = "Nats-Num-Pending"
	headerLastSequence = "Nats-Last-Sequence"
	headerUpTo         = "Nats-UpTo-Sequence"
)

// serverHeader returns what the server that answers says in a header, "" for
// nothing. It appends its headers to those of the stored message, whose author
// may have set the same ones: the last value is the server's.
func serverHeader(m *nats.Msg, key string) string {
	values := m.Header[key]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}
