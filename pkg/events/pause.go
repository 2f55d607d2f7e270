package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// SealedPause is the [Sealed.Type] of a [Pause].
const SealedPause = "rotator/pause/v1"

// Pause says that scheduled rotations of a secret wait, or that they go on again. The
// last one about a secret counts. The zero value is that of a secret that was never
// paused.
type Pause struct {
	SecretID secret.ID `json:"secret_id"`
	Paused   bool      `json:"paused"`
	// By is who said so and from where, Reason and Ticket why.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	Ticket string `json:"ticket,omitempty"`
	// At is when, by the clock of the program.
	At time.Time `json:"at"`
}

func (p Pause) validate() error {
	errs := []error{p.SecretID.Validate(), validText("by", p.By)}
	for name, text := range map[string]string{"reason": p.Reason, "ticket": p.Ticket} {
		if text != "" {
			errs = append(errs, validText(name, text))
		}
	}
	return errors.Join(errs...)
}

// SetPause seals and stores whether scheduled rotations of a secret wait.
func (b *Bus) SetPause(ctx context.Context, p Pause) error {
	err := p.validate()
	if err == nil && b.cfg.Signer == nil {
		err = ErrNoSigner
	}
	if err == nil {
		err = b.setPause(ctx, p)
	}
	return wrap("pause or resume "+string(p.SecretID), err)
}

func (b *Bus) setPause(ctx context.Context, p Pause) error {
	subject := b.cfg.Names.Paused(p.SecretID.Key())
	sealed, err := b.cfg.Signer.Seal(SealedPause, p)
	if err != nil {
		return err
	}
	for range actTries {
		last, err := b.stored(ctx, b.cfg.Names.RecordStream(), subject)
		if err != nil {
			return err
		}
		var after uint64
		if last != nil {
			after = last.Sequence
		}
		if err = b.putSealed(ctx, subject, sealed, after, maxActSize); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

// Pause returns the last pause of a secret that a trusted key has signed, zero for none.
// Any other record is passed over: it neither pauses nor resumes.
func (b *Bus) Pause(ctx context.Context, id secret.ID) (Pause, error) {
	var p Pause
	err := b.lastTrusted(ctx, b.cfg.Names.Paused(id.Key()), func(stored []byte) (ok bool) {
		p, ok = b.trustedPause(stored, id)
		return ok
	})
	return p, wrap("read whether "+string(id)+" is paused", err)
}

// trustedPause returns the pause that a stored record holds, and false if no trusted
// key has signed it.
func (b *Bus) trustedPause(stored []byte, id secret.ID) (Pause, bool) {
	s, err := ParseSealed(stored)
	if err != nil {
		return Pause{}, false
	}
	key, err := s.Key()
	if err != nil || !b.Trusts(key) || s.Type != SealedPause {
		return Pause{}, false
	}
	var p Pause
	// Not strict: a later program may have written more.
	if err := json.Unmarshal(s.Body, &p); err != nil || p.SecretID != id {
		return Pause{}, false
	}
	return p, true
}

// String says in one line that a secret is paused.
func (p Pause) String() string {
	out := fmt.Sprintf("paused since %s by %s", p.At.UTC().Format(time.RFC3339), p.By)
	if p.Reason != "" {
		out += ": " + p.Reason
	}
	if p.Ticket != "" {
		out += " (" + p.Ticket + ")"
	}
	return out
}
