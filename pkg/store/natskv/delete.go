package natskv

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

var _ store.Deleter = (*Driver)(nil)

// Delete implements [store.Deleter]: it puts a mark in the place of the document by
// compare-and-set, and removes the values only after that. A value that is stored later
// is of a writer that fails at the mark, or begins a new document after it.
func (d *Driver) Delete(ctx context.Context, path string, current secret.VersionID) error {
	for try := range casTries {
		pause(ctx, try)
		unused, err := d.mark(ctx, path, current)
		if errors.Is(err, store.ErrConflict) && !errors.Is(err, errOtherCurrent) {
			continue
		}
		if err != nil {
			return err
		}
		for _, k := range unused {
			if err := d.purge(ctx, valueKey(k.path, k.version, k.ref)); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%w: %d times in a row", store.ErrConflict, casTries)
}

// errOtherCurrent: the caller decided about another state of the secret.
var errOtherCurrent = fmt.Errorf("%w: another version is current", store.ErrConflict)

// mark writes the mark unless there is nothing to delete, and returns the values that no
// document can refer to any more.
func (d *Driver) mark(ctx context.Context, path string, current secret.VersionID) ([]sealedKey, error) {
	doc, err := d.read(ctx, path)
	missing := errors.Is(err, store.ErrNotFound)
	if err != nil && !missing {
		return nil, err
	}
	if cur := doc.current(); !missing && cur != current {
		return nil, fmt.Errorf("%w: %q, not %q", errOtherCurrent, cur, current)
	}
	stored, err := d.stored(ctx, path)
	if err != nil || missing && len(stored) == 0 {
		return nil, err
	}
	m := nats.NewMsg(d.subject(docKey(path)))
	m.Header.Set(kvOperation, "DEL")
	_, err = d.cfg.JS.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(doc.revision))
	return stored, classify(err)
}
