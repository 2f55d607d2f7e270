package rotation

import (
	"context"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Request asks for the rotation of a secret away from one version. Requests for
// the same version make the same new version.
type Request struct {
	Secret secret.ID
	// Store names the store for readers of events. It decides nothing.
	Store string
	// From is the version to replace, "" when there is none yet. If another
	// version is current, the request is superseded.
	From secret.VersionID
	// Incarnation is that of the secret, see [secret.Metadata]. If there is another
	// one, the request is superseded; "" is any.
	Incarnation string
	// NotAfter is the end of From, for readers of events; zero for none.
	NotAfter time.Time
	// Reason says why. Only a scheduled rotation waits until it is due.
	Reason events.Reason
	// At is when the rotation was asked for.
	At time.Time
	// By, Ticket and Priority are those of [events.Request].
	By, Ticket string
	Priority   events.Priority
	// Token names the new version, where the store has chosen the name. The zero
	// value derives it from the secret, From and the policy.
	Token secret.Token
}

// requestOf returns the request that an event carries.
func requestOf(d events.Data) Request {
	q := Request{
		Secret: d.SecretID, Store: d.Store, From: d.VersionID, NotAfter: d.NotAfter,
		Reason: d.Reason, At: d.OccurredAt, Token: d.RotationID, Incarnation: d.Incarnation,
	}
	if r := d.Request; r != nil {
		q.By, q.Ticket, q.Priority = r.By, r.Ticket, r.Priority
	}
	return q
}

// data is the inverse of requestOf.
func (q Request) data() events.Data {
	d := events.Data{
		SecretID: q.Secret, Store: q.Store, VersionID: q.From, NotAfter: q.NotAfter,
		Reason: q.Reason, OccurredAt: q.At, RotationID: q.Token, Incarnation: q.Incarnation,
	}
	if r := (events.Request{By: q.By, Ticket: q.Ticket, Priority: q.Priority}); r != (events.Request{}) {
		d.Request = &r
	}
	return d
}

// Event returns the event that asks the workers for the rotation. Its ID depends
// on At, so that a second request for the same version is another event.
func (q Request) Event(source string) events.Event {
	salt := string(q.Reason) + " " + q.At.UTC().Format(time.RFC3339Nano)
	return events.Event{
		ID:   string(secret.NewToken(q.Secret, q.From, salt, 0)),
		Type: events.TypeNearExpiry, Source: source, Time: q.At, Data: q.data(),
	}
}

// Try is one attempt at a request.
type Try struct {
	Request
	// Phase limits the attempt; the zero value is the whole rotation.
	Phase Phase
	// Retry is what earlier attempts left behind; zero for the first one.
	Retry events.Retry
	// Delivered is when the server stored the request, by the clock of the log. Zero
	// is for a caller that has no log; its rotations are not spaced.
	Delivered time.Time
}

// expired returns what is left of a request that was not handled in time: a
// scheduled rotation, which waits until it is due. No command is waiting for an
// answer any more, or the request is one from the past that is repeated.
func (r *Rotator) expired(ctx context.Context, t Try) Try {
	if t.Reason != events.ReasonNearExpiry {
		r.log.LogAttrs(ctx, slog.LevelError, "rotation.order_expired", slog.String("secret_id", string(t.Secret)),
			slog.String("version_id", string(t.From)), slog.String("reason", string(t.Reason)), slog.Time("asked_at", t.At),
			slog.String("remedy", "rotate by hand again if the secret still has to be rotated before its time"))
	}
	t.Request = Request{Secret: t.Secret, Store: t.Store, From: t.From, Incarnation: t.Incarnation, NotAfter: t.NotAfter, Reason: events.ReasonNearExpiry, At: t.At}
	return t
}

// tryOf returns the attempt that an event asks for.
func tryOf(d events.Data) Try { return Try{Request: requestOf(d), Retry: d.Retry} }
