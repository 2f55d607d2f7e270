package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrGivenUp is wrapped by the error for a requested rotation that a worker gave
// up.
var ErrGivenUp = errors.New("the rotation was given up")

// Manual returns the request to replace the current version of a secret at once,
// whatever its schedule and its windows say. One that was deleted in its store
// has to be restored there first. m and err are the answer of its
// store. A secret that its store does not know can be rotated only if the spec
// lets it be created; otherwise the error is err.
func Manual(at time.Time, by string, spec secret.Spec, m secret.Metadata, err error) (Request, error) {
	switch {
	case err != nil && (!errors.Is(err, secret.ErrNotFound) || errors.Is(err, secret.ErrDeleted) || !spec.Create):
		return Request{}, err
	case m.Current().ID == "" && m.Deleted != "":
		return Request{}, fmt.Errorf("%s: %w", spec.ID, m.Deletion())
	}
	return Request{Secret: spec.ID, Store: spec.Store, From: m.Current().ID, Incarnation: m.Incarnation, Reason: events.ReasonManual, By: by, At: at}, nil
}

// Supplied returns the request to make the version with a token current: a pending
// one that a person has written.
func Supplied(at time.Time, by, ticket string, spec secret.Spec, m secret.Metadata, t secret.Token) Request {
	return Request{
		Secret: spec.ID, Store: spec.Store, From: m.Current().ID, Incarnation: m.Incarnation,
		Reason: events.ReasonSupplied, By: by, Ticket: ticket, At: at, Token: t,
	}
}

// Log is what [Await] follows; *events.Bus is one.
type Log interface {
	WatchLog(ctx context.Context, types []events.Type, fn func(context.Context, events.Announcement) error, synced func()) error
}

// Await waits until the version that a request asks for is announced, and
// returns it. The error wraps [ErrGivenUp] if a worker gave up the rotation after
// the request was made, and is that of ctx if it ends first.
func Await(ctx context.Context, log Log, q Request) (secret.VersionID, error) {
	var to secret.VersionID
	done := errors.New("done")
	err := log.WatchLog(ctx, []events.Type{events.TypeRotated, events.TypeRotationFailed}, func(_ context.Context, a events.Announcement) error {
		v, err := q.Outcome(a)
		if to = v; v != "" {
			return done
		}
		return err
	}, nil)
	switch {
	case errors.Is(err, done):
		return to, nil
	case err != nil:
		return "", err
	default:
		return "", ctx.Err()
	}
}

// Outcome says what an event of the log means for a request: the version that was made
// for it, an error that wraps [ErrGivenUp], or neither.
func (q Request) Outcome(a events.Announcement) (secret.VersionID, error) {
	d := a.Event.Data
	switch {
	case d.SecretID != q.Secret:
	case a.Event.Type == events.TypeRotated && d.VersionID != q.From && d.PreviousVersionID == q.From:
		return d.VersionID, nil
	case a.Event.Type == events.TypeRotationFailed && d.VersionID == q.From && a.Event.Time.After(q.At):
		return "", givenUp(d.Failure)
	}
	return "", nil
}

func givenUp(f *events.Failure) error {
	if f == nil { // an event need not say why
		return ErrGivenUp
	}
	return fmt.Errorf("%w: %s", ErrGivenUp, f.Message)
}

// Emergency returns the request to replace the current version of a secret, because it
// has leaked.
func Emergency(at time.Time, by, ticket string, spec secret.Spec, m secret.Metadata) Request {
	return Request{
		Secret: spec.ID, Store: spec.Store, From: m.Current().ID, Incarnation: m.Incarnation,
		Reason: events.ReasonEmergency, By: by, Ticket: ticket, Priority: events.PriorityEmergency, At: at,
	}
}
