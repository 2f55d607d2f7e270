package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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

// record is the last message of a subject.
type record struct {
	subject string
	body    []byte
	seq     uint64
	at      time.Time // when the server stored it
}

// snapshot reads a stream behind a barrier: all that was acknowledged before the
// barrier, or an error.
//
// Any replica may answer a batched read, and any member of a group without a
// leader lists its subjects, so an answer alone proves nothing. The barrier is a
// message, which takes a quorum; the list and every answer have to reach its
// sequence. A replica that was paused while the stream was lost and made again may
// hold higher sequences of the stream before: its records are older than the stream.
type snapshot struct {
	b       *Bus
	stream  string
	barrier string    // subject of the barrier, which takes part in every read
	seq     uint64    // what every answer has to reach
	at      time.Time // when the barrier was stored, zero if it was not read
	since   time.Time // when the stream was made, zero before the first list
}

// reportsBehindBarrier publishes a barrier among the reports. A Bus replaces its
// own: the stream keeps one message per subject.
func (b *Bus) reportsBehindBarrier(ctx context.Context) (*snapshot, error) {
	return b.behindBarrier(ctx, b.cfg.Names.ReportsStream(), b.cfg.Names.Report(barrierService, b.nonce), jetstream.WithMsgTTL(barrierLife))
}

// behindBarrier publishes a barrier and returns a snapshot behind it.
func (b *Bus) behindBarrier(ctx context.Context, stream, barrier string, opts ...jetstream.PublishOpt) (*snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: barrier}, opts...)
	if err != nil {
		return nil, fmt.Errorf("publish a barrier: %w", b.full(stream, err))
	}
	return &snapshot{b: b, stream: stream, barrier: barrier, seq: ack.Sequence}, nil
}

// all calls fn with the record of every subject that fits the pattern, but the
// barrier.
func (s *snapshot) all(ctx context.Context, pattern string, fn func(record)) error {
	subjects, _, err := s.list(ctx, pattern)
	if err != nil {
		return err
	}
	return s.read(ctx, subjects, fn)
}

// read calls fn with the records of the subjects. A subject without one was listed
// and has ended since, or it never had one.
func (s *snapshot) read(ctx context.Context, subjects []string, fn func(record)) (err error) {
	for chunk := range slices.Chunk(subjects, snapshotSubjects) {
		for len(chunk) > 0 {
			if chunk, err = s.readChunk(ctx, chunk, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

// readChunk passes on what one answer holds of the subjects and returns those
// that it has not reached.
func (s *snapshot) readChunk(ctx context.Context, subjects []string, fn func(record)) (left []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		a, err := s.b.lastOf(ctx, s.stream, append(slices.Clone(subjects), s.barrier))
		if err != nil {
			return nil, err
		}
		if !s.reached(a) {
			if !backoff.Pause(ctx, snapshotPause) {
				return nil, fmt.Errorf("%w: the replica that answers is at sequence %d, and %d was acknowledged", ErrIncomplete, a.upTo, s.seq)
			}
			continue
		}
		if a.broken {
			return nil, s.readApart(ctx, subjects, a, fn)
		}
		have := make(map[string]struct{}, len(a.records))
		for _, r := range a.records {
			have[r.subject] = struct{}{}
			if r.subject != s.barrier {
				fn(r)
			}
		}
		if a.pending == 0 {
			return nil, nil
		}
		if len(a.records) == 0 {
			return nil, fmt.Errorf("%w: %d messages were held back", ErrIncomplete, a.pending)
		}
		return slices.DeleteFunc(slices.Clone(subjects), func(subject string) bool { _, ok := have[subject]; return ok }), nil
	}
}

// readApart reads the subjects of an answer that has a message with broken headers. It
// asks for fewer and fewer of them until it knows the subject of that message, whose
// record is then one that is not understood.
func (s *snapshot) readApart(ctx context.Context, subjects []string, a answer, fn func(record)) error {
	if len(subjects) > 1 {
		half := len(subjects) / 2
		return cmp.Or(s.read(ctx, subjects[:half], fn), s.read(ctx, subjects[half:], fn))
	}
	i := slices.IndexFunc(a.records, func(r record) bool { return r.subject == s.barrier })
	if i < 0 {
		return fmt.Errorf("%w: %s has broken headers, and the barrier is gone", ErrIncomplete, subjects[0])
	}
	fn(record{subject: subjects[0], body: []byte("broken"), seq: a.records[i].seq, at: a.records[i].at})
	return nil
}

// reached reports whether an answer is of the stream that was listed, and has all
// that the list has.
func (s *snapshot) reached(a answer) bool {
	return a.upTo >= s.seq && !slices.ContainsFunc(a.records, func(r record) bool { return r.at.Before(s.since) })
}

// answer is what one batched read returned.
type answer struct {
	records []record
	pending uint64 // messages that did not fit
	upTo    uint64 // the last sequence of the replica that answered, 0 if it has none of the subjects
	broken  bool   // the headers of a message are broken: records may be missing
}

// lastOf asks for the last message of each subject. The answer is whole up to
// its end marker, or an error: the deadline, a lost connection, a slow reader
// and a server that cannot load a message all cut it short.
func (b *Bus) lastOf(ctx context.Context, stream string, subjects []string) (answer, error) {
	body, err := json.Marshal(map[string]any{"multi_last": subjects, "max_bytes": snapshotBytes})
	if err != nil {
		return answer{}, err
	}
	return untilBegun(ctx, func(ctx context.Context, begun func()) (answer, error) {
		return b.requestLast(ctx, stream, body, begun)
	})
}

// requestLast sends one batched request to any server, and calls begun with each
// message of the answer.
func (b *Bus) requestLast(ctx context.Context, stream string, body []byte, begun func()) (answer, error) {
	var end *nats.Msg
	var got []*nats.Msg
	broken := false
	err := b.gather(ctx, b.cfg.APIPrefix+".DIRECT.GET."+stream, body, func(m *nats.Msg) bool {
		begun()
		switch last := serverHeader(m, jetstream.SubjectHeader) == ""; {
		case !intact(m, last):
			broken = true
		case last:
			end = m
		default:
			got = append(got, m)
		}
		return end != nil
	})
	if err != nil {
		return answer{}, fmt.Errorf("stream %s: %w", stream, err)
	}
	a, err := answerOf(got, end, broken)
	if err != nil {
		return answer{}, fmt.Errorf("stream %s: %w after %d messages: %w", stream, ErrIncomplete, len(got), err)
	}
	return a, nil
}

// answerOf returns what an answer says, and proves that nothing of it was lost:
// every message names the sequence of the one before, and so does the end marker. It
// proves nothing of an answer that is broken.
func answerOf(msgs []*nats.Msg, end *nats.Msg, broken bool) (a answer, err error) {
	a.broken = broken
	if end == nil {
		return a, errors.New("no end marker came")
	}
	switch status := serverHeader(end, "Status"); {
	case status == "404" && len(msgs) == 0:
		return a, nil
	case status == "503" && len(msgs) == 0:
		return a, nats.ErrNoResponders
	case status != "204":
		return a, fmt.Errorf("status %s %s", status, serverHeader(end, "Description"))
	}
	before := "0"
	for _, m := range append(slices.Clone(msgs), end) {
		if serverHeader(m, headerLastSequence) != before && !broken {
			return a, errors.New("a message was lost")
		}
		before = serverHeader(m, jetstream.SequenceHeader)
	}
	for _, m := range msgs {
		r, err := recordOf(m)
		if err != nil {
			return a, err
		}
		a.records = append(a.records, r)
	}
	if a.pending, err = strconv.ParseUint(serverHeader(end, headerNumPending), 10, 64); err != nil {
		return a, errors.New("the end marker does not count what is left")
	}
	if a.upTo, err = strconv.ParseUint(serverHeader(end, headerUpTo), 10, 64); err != nil {
		return a, errors.New("the end marker has no sequence")
	}
	return a, nil
}

// recordOf returns the record that a message of an answer holds.
func recordOf(m *nats.Msg) (record, error) {
	seq, err := strconv.ParseUint(serverHeader(m, jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return record{}, errors.New("a message has no sequence")
	}
	at, err := time.Parse(time.RFC3339Nano, serverHeader(m, jetstream.TimeStampHeaer))
	if err != nil {
		return record{}, errors.New("a message has no time")
	}
	return record{subject: serverHeader(m, jetstream.SubjectHeader), body: m.Data, seq: seq, at: at}, nil
}

// Headers of a batched answer; see ADR-31 of NATS.
const (
	headerNumPending   = "Nats-Num-Pending"
	headerLastSequence = "Nats-Last-Sequence"
	headerUpTo         = "Nats-UpTo-Sequence"
)

// maxHeaderLines bounds the headers of a record. Its author saves at most two bytes of
// each, so that what the server appends is longer.
const maxHeaderLines = 32

// intact reports whether the headers of a message of an answer, or of its end marker,
// were read to their end. The server appends its own to what the author of the record
// wrote. Where that has an empty line, or does not decode, they are not read: those of
// the author would be taken for the server's.
func intact(m *nats.Msg, end bool) bool {
	size, lines := len("NATS/1.0\r\n\r\n"), 0
	for k, values := range m.Header {
		for _, v := range values {
			line := len(k + ": " + v + "\r\n")
			if end && (k == "Status" || k == "Description") {
				line = len(" " + v) // they are in the first line
			}
			size, lines = size+line, lines+1
		}
	}
	return m.Header != nil && lines <= maxHeaderLines && m.Size() == size+len(m.Subject)+len(m.Reply)+len(m.Data)
}

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
