package events

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
)

// MaxReceiptSize bounds a sealed [Receipt] in bytes. Servers accept messages of
// 1 MiB unless they are told otherwise.
const MaxReceiptSize = 640 << 10

// RecordRetirement seals a receipt and stores it, after the one before about the same
// secret. It does nothing if that one is about the same retirement, so that a
// retirement that is tried again has one receipt. The error wraps [ErrConflict] when
// another worker was first, and [ErrFull] when the stream refuses it.
func (b *Bus) RecordRetirement(ctx context.Context, r Receipt) error {
	err := b.recordRetirement(ctx, r)
	return wrap("record the retirement of versions of "+string(r.SecretID), err)
}

func (b *Bus) recordRetirement(ctx context.Context, r Receipt) error {
	if b.cfg.Signer == nil {
		return ErrNoSigner
	}
	if err := r.SecretID.Validate(); err != nil {
		return err
	}
	subject := b.cfg.Names.Retired(r.SecretID.Key())
	last, err := b.stored(ctx, b.cfg.Names.RecordStream(), subject)
	if err != nil {
		return err
	}
	var after uint64
	if last != nil {
		after = last.Sequence
		if b.recorded(last.Data, r) {
			return nil
		}
		r.Previous = &ReceiptLink{Seq: last.Sequence, SHA256: digest(last.Data)}
	}
	sealed, err := b.cfg.Signer.Seal(SealedReceipt, r)
	if err != nil {
		return err
	}
	return b.putSealed(ctx, subject, sealed, after, MaxReceiptSize)
}

// putSealed stores a sealed record of at most limit bytes after the one with a
// sequence on its subject.
func (b *Bus) putSealed(ctx context.Context, subject string, s Sealed, after uint64, limit int) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if len(body) > limit {
		return fmt.Errorf("the record has %d bytes, the limit is %d", len(body), limit)
	}
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(after)}
	if o := b.ensured.Load(); o != nil && o.RecordRetention > 0 {
		opts = append(opts, jetstream.WithMsgTTL(o.RecordRetention))
	}
	_, err = b.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: body}, opts...)
	var api *jetstream.APIError
	if errors.As(err, &api) && strings.Contains(api.Description, "maximum bytes exceeded") {
		return fmt.Errorf("%w: stream %s takes no record until nats.record_bytes is raised: %w", ErrFull, b.cfg.Names.RecordStream(), err)
	}
	return conflict(err)
}

// recorded reports whether a stored record is the receipt of the same retirement.
func (b *Bus) recorded(stored []byte, r Receipt) bool {
	other, ok := b.trustedReceipt(stored)
	return ok && r.SameRetirement(other)
}

// trustedReceipt returns the receipt that a stored record holds, and false if no
// trusted key has signed it.
func (b *Bus) trustedReceipt(stored []byte) (r Receipt, ok bool) {
	s, err := ParseSealed(stored)
	if err != nil {
		return r, false
	}
	key, err := s.Key()
	if err != nil || !b.Trusts(key) {
		return r, false
	}
	// Not strict: a later program may have written more.
	ok = s.Type == SealedReceipt && json.Unmarshal(s.Body, &r) == nil
	return r, ok
}

// digest is the [Sealed.Digest] of a stored record, or the hash of its bytes if it is
// malformed.
func digest(stored []byte) string {
	s, err := ParseSealed(stored)
	if err == nil {
		if d, err := s.Digest(); err == nil {
			return d
		}
	}
	sum := sha256.Sum256(stored)
	return hex.EncodeToString(sum[:])
}

// Receipts returns the stored receipts about a secret, as they were stored, the oldest
// first.
func (b *Bus) Receipts(ctx context.Context, id secret.ID) ([]json.RawMessage, error) {
	if err := id.Validate(); err != nil {
		return nil, fmt.Errorf("read receipts: %w", err)
	}
	all, err := b.records(ctx, b.cfg.Names.Retired(id.Key()))
	return all, wrap("read the receipts of "+string(id), err)
}

// records returns the records on a subject, the oldest first.
func (b *Bus) records(ctx context.Context, subject string) ([]json.RawMessage, error) {
	var out []json.RawMessage
	for from := uint64(1); ; {
		r, err := b.nextRecord(ctx, subject, from)
		if err != nil || r == nil {
			return out, err
		}
		out, from = append(out, r.Data), r.Seq+1
	}
}

// lastTrusted calls trusts with the records on a subject, the newest first, until it
// returns true. Mostly that is the first one; what can publish there and signs nothing
// hides no record.
func (b *Bus) lastTrusted(ctx context.Context, subject string, trusts func(stored []byte) bool) error {
	m, err := b.stored(ctx, b.cfg.Names.RecordStream(), subject)
	if errors.Is(err, nats.ErrStreamNotFound) {
		return nil
	}
	if err != nil || m == nil || trusts(m.Data) {
		return err
	}
	b.note(ctx, subject, reject(rejectUntrusted, "no trusted key has signed the record"))
	all, err := b.records(ctx, subject)
	for _, stored := range slices.Backward(all) {
		if trusts(stored) {
			break
		}
	}
	return err
}

// Retirements returns the receipts about a secret that a trusted key has signed, the
// oldest first.
func (b *Bus) Retirements(ctx context.Context, id secret.ID) ([]Receipt, error) {
	stored, err := b.Receipts(ctx, id)
	if err != nil {
		return nil, err
	}
	var out []Receipt
	for _, text := range stored {
		if r, ok := b.trustedReceipt(text); ok {
			out = append(out, r)
		}
	}
	return out, nil
}

// LastRetirement returns the last receipt about a secret, and false if there is none
// that a trusted key has signed.
func (b *Bus) LastRetirement(ctx context.Context, id secret.ID) (Receipt, bool, error) {
	var r Receipt
	var found bool
	err := b.lastTrusted(ctx, b.cfg.Names.Retired(id.Key()), func(stored []byte) bool {
		r, found = b.trustedReceipt(stored)
		return found
	})
	return r, found, wrap("read the last receipt of "+string(id), err)
}
