package natskv

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

var _ store.FencedRetirer = (*Driver)(nil)

// Retire implements [store.Driver].
func (d *Driver) Retire(ctx context.Context, path string, id secret.VersionID, mode secret.RetireMode) error {
	return d.retire(ctx, path, id, mode, func(*document) error { return nil })
}

// RetireWhile implements [store.FencedRetirer].
func (d *Driver) RetireWhile(ctx context.Context, path string, id secret.VersionID, mode secret.RetireMode, current secret.VersionID) error {
	return d.retire(ctx, path, id, mode, func(doc *document) error {
		if cur := doc.current(); cur != current {
			return fmt.Errorf("%w: the current version is %q, not %q", store.ErrConflict, cur, current)
		}
		return nil
	})
}

// retire first writes the document in which the version is retiring, which loses
// against a promotion that was quicker, and removes the value only after that. A
// crash in between leaves a version that has its value and no stage: retiring it
// again goes on.
func (d *Driver) retire(ctx context.Context, path string, id secret.VersionID, mode secret.RetireMode, allowed func(*document) error) error {
	if mode == secret.RetireKeep || mode == secret.RetireLater {
		return d.change(ctx, path, false, func(doc *document) (bool, error) {
			if err := allowed(doc); err != nil {
				return false, err
			}
			return doc.retire(id, mode)
		})
	}
	var stored, unused []sealedKey
	if err := d.change(ctx, path, false, func(doc *document) (changed bool, err error) {
		if err := allowed(doc); err != nil {
			return false, err
		}
		if stored, err = d.stored(ctx, path); err != nil {
			return false, err
		}
		if changed, err = doc.retiring(id, mode); changed {
			unused = doc.orphans(stored)
		}
		return changed, err
	}); err != nil || unused == nil {
		return err
	}
	for _, k := range unused {
		if err := d.purge(ctx, valueKey(k.path, k.version, k.ref)); err != nil {
			return err
		}
	}
	return d.change(ctx, path, false, func(doc *document) (bool, error) { return doc.retired(id), nil })
}

// stored returns the values of a secret that are in the bucket.
func (d *Driver) stored(ctx context.Context, path string) ([]sealedKey, error) {
	info, err := d.stream.Info(ctx, jetstream.WithSubjectFilter(d.subject(valuesOf(path))))
	if err != nil {
		return nil, classify(err)
	}
	out := make([]sealedKey, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		k, err := parseValueKey(strings.TrimPrefix(subject, d.subject("")))
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// valuesOf is the pattern of the keys of all values of a secret.
func valuesOf(path string) string { return "v." + string(secret.ID(path).Key()) + ".>" }

// retire takes the stage of a version away, and says in the document that its
// value is gone unless mode keeps it.
func (doc *document) retire(id secret.VersionID, mode secret.RetireMode) (changed bool, err error) {
	life := store.Document{Versions: doc.versions()}
	if changed, err = life.Retire(id, mode); changed {
		doc.set(life.Versions)
	}
	return changed, err
}

// retiring is retire while the value of the version is still there.
func (doc *document) retiring(id secret.VersionID, mode secret.RetireMode) (changed bool, err error) {
	changed, err = doc.retire(id, mode)
	if v := doc.find(id); changed && v != nil {
		v.Empty, v.Retiring = false, true
	}
	return changed, err
}

// retired notes that the value of a retiring version was removed, and reports
// whether that was not known.
func (doc *document) retired(id secret.VersionID) bool {
	v := doc.find(id)
	if v == nil || !v.Retiring {
		return false
	}
	v.Ref, v.Empty, v.Retiring = "", true, false
	return true
}

// orphans returns those of the stored values that no version of the document
// uses, never nil. Once the document was written by compare-and-set, no writer
// can refer to one of them any more if they were listed before: [Driver.Put]
// reads the document, stores a value, and writes the document that follows the
// one it read, or it stores another value.
func (doc *document) orphans(stored []sealedKey) []sealedKey {
	out := []sealedKey{}
	for _, k := range stored {
		if !doc.refers(k) {
			out = append(out, k)
		}
	}
	return out
}
