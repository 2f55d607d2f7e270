package events

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StoredRecord is one message of the stream of records: a receipt, an act, a pause, or
// what a person confirmed or had forgotten.
type StoredRecord struct {
	Seq     uint64
	At      time.Time // when the server stored it
	Subject string
	Data    []byte
}

// Seal signs a record of the given type with the key of the Bus.
func (b *Bus) Seal(kind string, body any) (Sealed, error) {
	if b.cfg.Signer == nil {
		return Sealed{}, ErrNoSigner
	}
	return b.cfg.Signer.Seal(kind, body)
}

// ReadRecords calls fn with each record that was stored at or after from and before to,
// the oldest first, until fn fails. It reads one at a time. Whether a record is to be
// believed is for fn to say.
func (b *Bus) ReadRecords(ctx context.Context, from, to time.Time, fn func(StoredRecord) error) error {
	subject := b.cfg.Names.prefix + "record.>"
	seq, err := b.firstRecord(ctx, subject, from)
	for err == nil {
		var r *StoredRecord
		r, err = b.nextRecord(ctx, subject, seq)
		if err != nil || r == nil || !r.At.Before(to) {
			break
		}
		if err := fn(*r); err != nil {
			return err
		}
		seq = r.Seq + 1
	}
	return wrap("read the records", err)
}

// firstRecord returns a sequence from which on every record of a subject was stored at
// or after a time. The server stores them in the order of their times.
func (b *Bus) firstRecord(ctx context.Context, subject string, from time.Time) (uint64, error) {
	before := func(seq uint64) (bool, error) {
		r, err := b.nextRecord(ctx, subject, seq)
		return err == nil && r != nil && r.At.Before(from), err
	}
	low, high := uint64(0), uint64(1) // low is before from, or 0
	for {
		early, err := before(high)
		if err != nil {
			return 0, err
		}
		if !early {
			break
		}
		low, high = high, 2*high
	}
	for low+1 < high {
		middle := low + (high-low)/2
		early, err := before(middle)
		switch {
		case err != nil:
			return 0, err
		case early:
			low = middle
		default:
			high = middle
		}
	}
	return high, nil
}

// nextRecord returns the first record of a subject at or after a sequence, nil for
// none. The leader of the stream answers.
func (b *Bus) nextRecord(ctx context.Context, subject string, from uint64) (*StoredRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ask, err := json.Marshal(map[string]any{"seq": from, "next_by_subj": subject})
	if err != nil {
		return nil, err
	}
	stream := b.cfg.Names.RecordStream()
	m, err := b.nc.RequestWithContext(ctx, b.cfg.APIPrefix+".STREAM.MSG.GET."+stream, ask)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq     uint64    `json:"seq"`
			Subject string    `json:"subject"`
			Time    time.Time `json:"time"`
			Data    []byte    `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("stream %s: %w", stream, err)
	}
	switch e := answer.Error; {
	case e == nil:
		a := answer.Message
		return &StoredRecord{a.Seq, a.Time, a.Subject, a.Data}, nil
	case e.ErrorCode == jetstream.JSErrCodeMessageNotFound, e.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return nil, nil
	default:
		return nil, fmt.Errorf("stream %s: %w", stream, e)
	}
}
