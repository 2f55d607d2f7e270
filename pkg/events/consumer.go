package events

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Confirmed is the record that a consumer without a client uses a version of a
// secret, and none before it.
//
// It is not signed: the permissions on record.> say who may write it.
type Confirmed struct {
	SecretID secret.ID `json:"secret_id"`
	// Consumer is the name that the secret lists under consumers.
	Consumer  string           `json:"consumer"`
	VersionID secret.VersionID `json:"version_id"`
	// By is who says so: a person, or a pipeline.
	By string `json:"by"`
	// At is when it was said, by the clock of the program.
	At time.Time `json:"at"`
}

func (c Confirmed) validate() error {
	err := errors.Join(c.SecretID.Validate(), ValidToken(c.Consumer), validText("by", c.By))
	if err == nil && c.VersionID == "" {
		err = errors.New("the version is missing")
	}
	return err
}

// RecordConfirmed writes that a consumer uses a version.
func (b *Bus) RecordConfirmed(ctx context.Context, c Confirmed) error {
	err := c.validate()
	if err == nil {
		err = b.putStanding(ctx, b.cfg.Names.Confirmed(c.SecretID.Key(), c.Consumer), c)
	}
	return wrap("record what is confirmed", err)
}

// Confirmations returns which version of a secret each of the given consumers was
// last confirmed to use. One that was never confirmed is not among them, and neither
// is one whose record is not understood.
func (b *Bus) Confirmations(ctx context.Context, id secret.ID, consumers []secret.Consumer) (map[string]Confirmed, error) {
	out := make(map[string]Confirmed, len(consumers))
	for _, c := range consumers {
		m, err := b.stored(ctx, b.cfg.Names.RecordStream(), b.cfg.Names.Confirmed(id.Key(), c.Name))
		if errors.Is(err, nats.ErrStreamNotFound) {
			return out, nil
		}
		if err != nil {
			return nil, wrap("read what is confirmed of "+string(id), err)
		}
		if m == nil {
			continue
		}
		if one, ok := b.decodeConfirmed(ctx, m.Subject, m.Data); ok {
			out[c.Name] = one
		}
	}
	return out, nil
}

// WatchConfirmed calls fn with the last record of each consumer and then with every
// new one, until ctx ends (it returns nil) or fn fails.
func (b *Bus) WatchConfirmed(ctx context.Context, fn func(Confirmed) error) error {
	n := b.cfg.Names
	return b.watch(ctx, n.RecordStream(), []string{n.Confirmed("*", "*")}, watchFuncs{message: func(m message) error {
		if c, ok := b.decodeConfirmed(ctx, m.subject, m.body); ok {
			return fn(c)
		}
		return nil
	}})
}

// decodeConfirmed returns a record, and false for one that is not understood: it
// confirms nothing.
func (b *Bus) decodeConfirmed(ctx context.Context, subject string, body []byte) (c Confirmed, ok bool) {
	err := json.Unmarshal(body, &c)
	if err == nil {
		err = c.validate()
	}
	if err == nil && b.cfg.Names.Confirmed(c.SecretID.Key(), c.Consumer) != subject {
		err = errors.New("it is of another secret or consumer than its subject says")
	}
	if err != nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "record.not_understood", slog.String("subject", subject), slog.String("error", err.Error()))
	}
	return c, err == nil
}
