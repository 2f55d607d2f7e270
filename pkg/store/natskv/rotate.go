package natskv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// settleTime is how long a fresh key of a replicated bucket is primary before the
// keys before it may go. It is longer than a call of a [store.Store] takes, and
// than a deposed leader answers reads (20 s).
const settleTime = 45 * time.Second

// RotateKeyset adds a fresh key to the keyset, seals every value anew with it,
// and then removes the keys before it. On a cluster it waits 45 s before it
// removes them. Every step can be repeated; values stay readable throughout, also
// for other processes. It ends in [store.ErrConflict] when another process
// rotates the keyset at the same time, which then does all of it, or changes the
// master key: then run it again.
func (d *Driver) RotateKeyset(ctx context.Context) error {
	if err := d.rotateKeyset(ctx); err != nil {
		return fmt.Errorf("rotate keyset: %w", err)
	}
	return nil
}

func (d *Driver) rotateKeyset(ctx context.Context) error {
	if err := d.keys.load(ctx, d.last); err != nil {
		return err
	}
	h, _, revision := d.keys.current()
	m := keyset.NewManagerFromHandle(h)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	if err := m.SetPrimary(id); err != nil {
		return err
	}
	if h, err = m.Handle(); err != nil {
		return err
	}
	if err := d.keys.save(ctx, h, revision); err != nil {
		return err
	}
	_, _, revision = d.keys.current()
	if err := d.resealAll(ctx); err != nil {
		return err
	}
	// The keyset is the one from before the values were sealed anew, or the keys
	// stay: a value that was stored meanwhile may be sealed by another key.
	return d.prune(ctx, h, id, revision)
}

// resealAll seals every value with the primary key, again and again until a pass
// finds none that another key has sealed. Between the first pass and the second
// writers that read the keyset before it changed come to their end.
func (d *Driver) resealAll(ctx context.Context) error {
	for pass := range casTries {
		n, err := d.resealPass(ctx)
		if err != nil || n == 0 && pass > 0 {
			return err
		}
		if err := d.awaitWriters(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: values were sealed by an older key %d times in a row", store.ErrConflict, casTries)
}

// awaitWriters waits until no writer trusts a keyset from before the call. With
// one server none does: it answers every read with what it has stored.
func (d *Driver) awaitWriters(ctx context.Context) error {
	if d.stream.CachedInfo().Config.Replicas < 2 {
		return nil
	}
	t := time.NewTimer(d.settle)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// resealPass seals the values that there are now, and returns how many of them
// another key had sealed.
func (d *Driver) resealPass(ctx context.Context) (resealed int, err error) {
	info, err := d.stream.Info(ctx, jetstream.WithSubjectFilter(d.subject("v.>")))
	if err != nil {
		return 0, classify(err)
	}
	for subject := range info.State.Subjects {
		s, err := parseValueKey(strings.TrimPrefix(subject, d.subject("")))
		if err != nil {
			return resealed, err
		}
		changed, err := d.reseal(ctx, s)
		if err != nil {
			return resealed, fmt.Errorf("%s: %w", s.path, err)
		}
		if changed {
			resealed++
		}
	}
	return resealed, nil
}

// sealedKey is the key of a sealed value, in its parts.
type sealedKey struct {
	path    string
	version secret.VersionID
	ref     string
}

func parseValueKey(key string) (sealedKey, error) {
	parts := strings.Split(strings.TrimPrefix(key, "v."), ".")
	if len(parts) != 3 {
		return sealedKey{}, fmt.Errorf("%w: the bucket has a key that this program did not write", store.ErrInvalid)
	}
	path, err := secret.IDFromKey(secret.Key(parts[0]))
	if err != nil {
		return sealedKey{}, err
	}
	v, err := secret.IDFromKey(secret.Key(parts[1]))
	return sealedKey{path: string(path), version: secret.VersionID(v), ref: parts[2]}, err
}

// reseal seals a value anew unless it is gone or the primary key has sealed it,
// and reports whether it did. Another process that does the same may use a key
// that is older than ours: then it tries again.
func (d *Driver) reseal(ctx context.Context, s sealedKey) (changed bool, err error) {
	key, bound := valueKey(s.path, s.version, s.ref), d.bound(s.path, s.version, s.ref)
	for try := range casTries {
		pause(ctx, try)
		m, err := d.last(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil // retired
		}
		if err != nil {
			return false, err
		}
		if done, err := d.keys.sealedByPrimary(m.Data); done || err != nil {
			return false, err
		}
		value, err := d.keys.open(ctx, m.Data, bound)
		if errors.Is(err, store.ErrInvalid) {
			return false, d.mayStay(ctx, s, err)
		}
		if err != nil {
			return false, err
		}
		sealed, err := d.keys.seal(value, bound)
		if err != nil {
			return false, err
		}
		_, err = d.cfg.JS.Publish(ctx, d.subject(key), sealed, jetstream.WithExpectLastSequencePerSubject(m.Sequence))
		if err = classify(err); !errors.Is(err, store.ErrConflict) {
			return err == nil, err
		}
	}
	return false, fmt.Errorf("%w: %d times in a row", store.ErrConflict, casTries)
}

// mayStay returns the error that a value does not open if a document refers to
// the value. One that no document refers to was left by a writer that died: it
// goes when its version is retired.
func (d *Driver) mayStay(ctx context.Context, s sealedKey, broken error) error {
	doc, err := d.read(ctx, s.path)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && doc.ref(s.version) != s.ref:
		return nil
	case err != nil:
		return err
	default:
		return broken
	}
}

// prune removes every key but the primary from the keyset h if the stored one
// still has the revision.
func (d *Driver) prune(ctx context.Context, h *keyset.Handle, primary uint32, revision uint64) error {
	m := keyset.NewManagerFromHandle(h)
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return err
		}
		if e.KeyID() != primary {
			if err := m.Delete(e.KeyID()); err != nil {
				return err
			}
		}
	}
	pruned, err := m.Handle()
	if err != nil {
		return err
	}
	return d.keys.save(ctx, pruned, revision)
}
