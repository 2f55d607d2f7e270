package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Bounds of a record. The stream has no bound in bytes besides them: at such a
// bound the server refuses a record that is larger than the one it replaces.
const (
	// MaxRecordSize bounds a [Presence] and a [Use] in bytes.
	MaxRecordSize = 8 << 10
	// maxRecordHeaders bounds the headers of a record, in bytes.
	maxRecordHeaders = 1 << 10
	// maxAccepts bounds [Use.Accepts].
	maxAccepts = 16
	// maxSeconds bounds a lease and a fence: ten years.
	maxSeconds = 10 * 366 * 24 * 60 * 60
	// maxBootID bounds [Process.BootID] in bytes.
	maxBootID = 64
)

// Join stores the first presence of an incarnation, or the first after its
// records were lost or purged. The incarnation writes every use after it, and is
// confirmed by the next renewal: in the other order the stream may be lost in
// between, and a presence without a use would be renewed for ever.
func (b *Bus) Join(ctx context.Context, p Presence) (seq uint64, err error) {
	return b.putPresence(ctx, "join", p)
}

// Renew replaces the presence that has the sequence after. Its error wraps
// [ErrConflict] when that is no longer the last one of the subject: the records
// were lost or purged, or the acknowledgement of a renewal was lost. The
// incarnation joins again, and then writes every use.
//
// The last renewal of an incarnation has [Presence.Ended] set.
func (b *Bus) Renew(ctx context.Context, p Presence, after uint64) (seq uint64, err error) {
	return b.putPresence(ctx, "renew", p, jetstream.WithExpectLastSequencePerSubject(after))
}

func (b *Bus) putPresence(ctx context.Context, op string, p Presence, opts ...jetstream.PublishOpt) (uint64, error) {
	if err := p.validate(); err != nil {
		return 0, fmt.Errorf("%s: %w", op, err)
	}
	seq, err := b.putRecord(ctx, b.cfg.Names.Presence(p.Service, p.Instance, p.Incarnation), p, opts...)
	return seq, wrap(op, err)
}

// WriteUse stores what an incarnation does with a secret. It is acknowledged when
// the error is nil.
func (b *Bus) WriteUse(ctx context.Context, u Use) error {
	if err := u.validate(); err != nil {
		return fmt.Errorf("write use: %w", err)
	}
	_, err := b.putRecord(ctx, b.cfg.Names.Use(u.SecretID.Key(), u.Service, u.Incarnation), u)
	return wrap("write use of "+string(u.SecretID), err)
}

func (b *Bus) putRecord(ctx context.Context, subject string, record any, opts ...jetstream.PublishOpt) (uint64, error) {
	body, err := json.Marshal(record)
	if err != nil {
		return 0, err
	}
	if len(body) > MaxRecordSize {
		return 0, fmt.Errorf("the record has %d bytes, the limit is %d", len(body), MaxRecordSize)
	}
	ack, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: body}, opts...)
	if err != nil {
		return 0, b.full(b.cfg.Names.UsesStream(), conflict(err))
	}
	return ack.Sequence, nil
}

// full marks the refusal of a new record by a stream at its bound.
func (b *Bus) full(stream string, err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) || !strings.Contains(api.Description, "maximum messages exceeded") {
		return err
	}
	remedy := "ended instances are forgotten (rotator forget) or nats.uses_records is raised"
	if stream == b.cfg.Names.ReportsStream() {
		remedy = "instances with an older client are upgraded or stopped"
	}
	return fmt.Errorf("%w: stream %s takes no new record until %s: %w", ErrFull, stream, remedy, err)
}

// validate holds a presence to what its reader can understand.
func (p Presence) validate() error {
	if err := validNames(p.Service, p.Instance, p.Incarnation); err != nil {
		return err
	}
	if err := ValidToken(p.Fleet); p.Fleet != "" && err != nil {
		return fmt.Errorf("presence of %s/%s: fleet %w", p.Service, p.Instance, err)
	}
	if p.Lease < 1 || p.Lease > maxSeconds {
		return fmt.Errorf("presence of %s/%s: the lease is %d seconds, want 1 to %d", p.Service, p.Instance, p.Lease, maxSeconds)
	}
	if p.Process != nil && (p.Process.PID < 1 || len(p.Process.BootID) > maxBootID) {
		return fmt.Errorf("presence of %s/%s: the process is malformed", p.Service, p.Instance)
	}
	return nil
}

// validate holds a use to what its reader can understand. A status or PastFence
// that the reader does not know yet is not an error: the one never counts as
// applied, the other is read as serve.
func (u Use) validate() error {
	if err := errors.Join(validNames(u.Service, u.Instance, u.Incarnation), u.SecretID.Validate()); err != nil {
		return err
	}
	for _, v := range append([]secret.VersionID{u.VersionID, u.Wanted}, u.Accepts...) {
		if v != "" && v.Validate() != nil {
			return fmt.Errorf("use of %s: a version ID is malformed", u.SecretID)
		}
	}
	switch {
	case len(u.Status) > maxStatus || len(u.PastFence) > maxStatus || len(u.Reason) > maxText:
		return fmt.Errorf("use of %s: the status, past_fence or the reason is too long", u.SecretID)
	case len(u.Accepts) > maxAccepts || slices.Contains(u.Accepts, ""):
		return fmt.Errorf("use of %s: accepts has %d versions, want at most %d, none of them empty", u.SecretID, len(u.Accepts), maxAccepts)
	case u.Fence < 0 || u.Fence > maxSeconds:
		return fmt.Errorf("use of %s: the fence is %d seconds, want 0 to %d", u.SecretID, u.Fence, maxSeconds)
	}
	return nil
}

func validNames(service, instance, incarnation string) error {
	if service == barrierService {
		return fmt.Errorf("service %s: the name is reserved", barrierService)
	}
	return errors.Join(ValidToken(service), ValidToken(instance), ValidToken(incarnation))
}
