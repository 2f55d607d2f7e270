package store

import (
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Find returns the version that the selector names, or an error that wraps
// [ErrNotFound].
func (sel Selector) Find(m secret.Metadata) (secret.Version, error) {
	if sel.Version != "" {
		if v, ok := m.Version(sel.Version); ok {
			return v, nil
		}
		return secret.Version{}, fmt.Errorf("%w: no version %s", ErrNotFound, sel.Version)
	}
	stage := sel.Stage
	if stage == "" {
		stage = secret.StageCurrent
	}
	if v, ok := m.At(stage); ok {
		return v, nil
	}
	return secret.Version{}, fmt.Errorf("%w: no %s version", ErrNotFound, stage)
}

// Document is the life of a secret's versions for a driver whose service knows
// no stages: the driver keeps the versions, as one document that it changes by
// compare-and-set, and Document says how they change. A method that fails, or
// reports that nothing changed, leaves the document as it was.
type Document struct {
	Versions []secret.Version
	// Incarnation, if set, is a nonce of this document. The ids of its versions
	// depend on it, so that a secret that is deleted and made anew has others.
	Incarnation string
}

// id returns the id of the version that is written under a token.
func (d *Document) id(t secret.Token) secret.VersionID {
	if d.Incarnation == "" {
		return secret.VersionID(t)
	}
	return secret.VersionID(secret.NewToken("", secret.VersionID(t), d.Incarnation, 0))
}

// maxRetired bounds how many retired versions without a value a document
// remembers.
const maxRetired = 20

// maxHeld bounds how many versions without a stage hold a value without being
// kept on request: those of rotations that were given up or overtaken before a
// caller retired them.
const maxHeld = 100

// Surplus returns the oldest of the versions that hold a value without a stage or
// a wish to keep it, beyond maxHeld. The driver retires them as it likes, or the
// document grows for ever.
func (d *Document) Surplus() []secret.VersionID {
	var held []secret.VersionID
	for _, v := range d.Versions {
		if v.Stage == secret.StageRetired && !v.Empty && !v.Kept {
			held = append(held, v.ID)
		}
	}
	return held[:max(0, len(held)-maxHeld)]
}

// Put adds the pending version of w, written at now by the store's clock, and returns it. When a
// version with w's token exists it returns that one and false: the driver has
// to compare the values.
func (d *Document) Put(w Write, now time.Time) (v secret.Version, fresh bool, err error) {
	m := secret.Metadata{Versions: d.Versions}
	if i := slices.IndexFunc(d.Versions, func(v secret.Version) bool { return v.Token == w.Token }); i >= 0 {
		return d.Versions[i], false, nil
	}
	if cur := m.Current().ID; cur != w.From {
		return v, false, fmt.Errorf("%w: the current version is not %q", ErrConflict, w.From)
	}
	versions := slices.Clone(d.Versions)
	if p, ok := m.At(secret.StagePending); ok {
		if p.ID != w.Replace {
			return v, false, fmt.Errorf("%w: %s", ErrPending, p.ID)
		}
		setStage(versions, p.ID, secret.StageRetired)
	}
	v = secret.Version{ID: d.id(w.Token), Token: w.Token, Stage: secret.StagePending, CreatedAt: now, NotAfter: w.End(now)}
	versions = append(versions, v)
	d.Versions = versions
	return v, true, nil
}

// Promote makes to current and from previous, and reports whether that changed
// anything.
func (d *Document) Promote(from, to secret.VersionID) (changed bool, err error) {
	m := secret.Metadata{Versions: d.Versions}
	next, ok := m.Version(to)
	cur := m.Current().ID
	switch {
	case !ok:
		return false, fmt.Errorf("%w: no version %s", ErrNotFound, to)
	case cur == to:
		return false, nil
	case cur != from:
		return false, fmt.Errorf("%w: the current version is not %q", ErrConflict, from)
	case next.Stage != secret.StagePending:
		return false, fmt.Errorf("%w: %s is %s, not pending", ErrConflict, to, next.Stage)
	}
	versions := slices.Clone(d.Versions)
	if prev, ok := m.At(secret.StagePrevious); ok {
		setStage(versions, prev.ID, secret.StageRetired)
	}
	setStage(versions, from, secret.StagePrevious)
	setStage(versions, to, secret.StageCurrent)
	d.Versions = versions
	return true, nil
}

// Retire takes the stage of a version away, notes what becomes of its value,
// and reports whether that changed anything. The driver removes the value
// unless mode is [secret.RetireKeep] or [secret.RetireLater].
func (d *Document) Retire(id secret.VersionID, mode secret.RetireMode) (changed bool, err error) {
	i := slices.IndexFunc(d.Versions, func(v secret.Version) bool { return v.ID == id })
	if i < 0 {
		return false, nil
	}
	v := d.Versions[i]
	keep, later := mode == secret.RetireKeep, mode == secret.RetireLater
	switch {
	case v.Stage == secret.StageCurrent:
		return false, fmt.Errorf("%w: %s is current", ErrConflict, id)
	case v.Stage == secret.StageRetired && (v.Empty || later || v.Kept && keep):
		return false, nil
	}
	v.Stage, v.Kept, v.Empty = secret.StageRetired, keep, !keep && !later
	versions := slices.Clone(d.Versions)
	versions[i] = v
	d.Versions = trim(versions)
	return true, nil
}

// trim forgets the oldest retired versions that have no value, beyond
// maxRetired.
func trim(versions []secret.Version) []secret.Version {
	spare := -maxRetired
	for _, v := range versions {
		if v.Stage == secret.StageRetired && v.Empty {
			spare++
		}
	}
	return slices.DeleteFunc(versions, func(v secret.Version) bool {
		drop := spare > 0 && v.Stage == secret.StageRetired && v.Empty
		if drop {
			spare--
		}
		return drop
	})
}

func setStage(versions []secret.Version, id secret.VersionID, stage secret.Stage) {
	for i := range versions {
		if versions[i].ID == id {
			versions[i].Stage = stage
		}
	}
}
