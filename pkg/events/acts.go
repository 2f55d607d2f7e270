package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// SealedAct is the [Sealed.Type] of an [Act].
const SealedAct = "rotator/act/v1"

// maxActSize bounds a sealed [Act] in bytes.
const maxActSize = 8 << 10

// ActKind says what a person did.
type ActKind string

// What a person may do to one secret.
const (
	// ActRead: read a value.
	ActRead ActKind = "read"
	// ActPut: wrote a value of their own.
	ActPut ActKind = "put"
	// ActImport: brought an existing value in as the first version.
	ActImport ActKind = "import"
	// ActRollback: wrote the value of an earlier version again.
	ActRollback ActKind = "rollback"
	// ActDelete: deleted the secret.
	ActDelete ActKind = "delete"
	// ActRevoke: had a version retired without proof.
	ActRevoke ActKind = "revoke"
	// ActRotate: had the secret rotated.
	ActRotate ActKind = "rotate"
	// ActEmergency: declared that a version has leaked, and had the secret rotated at
	// once.
	ActEmergency ActKind = "emergency"
	// ActPause and ActResume: stopped scheduled rotations, and had them go on.
	ActPause  ActKind = "pause"
	ActResume ActKind = "resume"
	// ActFix: applied a remedy of rotator doctor.
	ActFix ActKind = "fix"
)

var actKinds = []ActKind{ActRead, ActPut, ActImport, ActRollback, ActDelete, ActRevoke, ActRotate, ActEmergency, ActPause, ActResume, ActFix}

// Act records what a person did to one secret at the command line. It is written
// before the act, so that an act without a record cannot have happened; one that is
// recorded may have failed. The acts on one secret are a chain. An act holds no value.
type Act struct {
	// SecretID is the secret. It is "" for an act on the bus, which Subject names.
	SecretID secret.ID `json:"secret_id,omitempty"`
	Subject  string    `json:"subject,omitempty"`
	Kind     ActKind   `json:"kind"`
	// VersionID is the version that was read, revoked or taken as the model of a new
	// one, "" where none is meant.
	VersionID secret.VersionID `json:"version_id,omitempty"`
	// By is who did it and from where, Reason and Ticket why.
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
	Ticket string `json:"ticket,omitempty"`
	// Freeze is the freeze of the configuration that the act overrules, "" for none.
	Freeze string `json:"freeze,omitempty"`
	// At is when, by the clock of the program.
	At time.Time `json:"at"`
	// Previous is the record before this one about the same secret, nil for none.
	Previous *ReceiptLink `json:"previous,omitempty"`
}

func (a Act) validate() error {
	if !slices.Contains(actKinds, a.Kind) {
		return fmt.Errorf("no act is named %q", a.Kind)
	}
	errs := []error{validText("by", a.By)}
	if a.SecretID != "" || a.Subject == "" {
		errs = append(errs, a.SecretID.Validate())
	}
	for name, text := range map[string]string{"subject": a.Subject, "reason": a.Reason, "ticket": a.Ticket, "freeze": a.Freeze} {
		if text != "" {
			errs = append(errs, validText(name, text))
		}
	}
	if a.VersionID != "" {
		errs = append(errs, a.VersionID.Validate())
	}
	return errors.Join(errs...)
}

// actTries is how often a record is tried that others get in before.
const actTries = 10

// RecordAct seals an act and stores it, after the one before about the same secret.
// The error wraps [ErrFull] when the stream refuses it.
func (b *Bus) RecordAct(ctx context.Context, a Act) error {
	err := a.validate()
	for try := 0; err == nil; try++ {
		err = b.recordAct(ctx, a)
		if err == nil {
			return nil
		}
		if errors.Is(err, ErrConflict) && try < actTries {
			err = nil
		}
	}
	return wrap(fmt.Sprintf("record the %s of %s", a.Kind, cmp.Or(string(a.SecretID), a.Subject)), err)
}

func (b *Bus) recordAct(ctx context.Context, a Act) error {
	if b.cfg.Signer == nil {
		return ErrNoSigner
	}
	subject := b.cfg.Names.Acts(a.SecretID.Key())
	if a.SecretID == "" {
		subject = b.cfg.Names.BusActs()
	}
	last, err := b.stored(ctx, b.cfg.Names.RecordStream(), subject)
	if err != nil {
		return err
	}
	var after uint64
	if last != nil {
		after = last.Sequence
		a.Previous = &ReceiptLink{Seq: last.Sequence, SHA256: digest(last.Data)}
	}
	sealed, err := b.cfg.Signer.Seal(SealedAct, a)
	if err != nil {
		return err
	}
	return b.putSealed(ctx, subject, sealed, after, maxActSize)
}

// Acts returns what people did to a secret, as it was stored, the oldest first.
func (b *Bus) Acts(ctx context.Context, id secret.ID) ([]json.RawMessage, error) {
	if err := id.Validate(); err != nil {
		return nil, fmt.Errorf("read acts: %w", err)
	}
	all, err := b.records(ctx, b.cfg.Names.Acts(id.Key()))
	return all, wrap("read the acts on "+string(id), err)
}
