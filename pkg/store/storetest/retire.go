package storetest

import (
	"errors"
	"sync"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// retireRacesPromote lets one process promote the pending version while another
// gives it up. Whichever wins, the version that is current has its value. A promotion
// that finds out too late has won, and returns an error of no known kind.
func retireRacesPromote(t *testing.T, b *bench) {
	t.Helper()
	other := b.d
	if b.h.Another != nil {
		other = b.h.Another(t)
	}
	current := b.rotate(1, "")
	for n := 2; n < 12; n++ {
		p := b.put(b.write(n, current))
		var promoted, retired error
		var wg sync.WaitGroup
		wg.Go(func() { promoted = other.Promote(t.Context(), b.path, current, p.ID) })
		wg.Go(func() { retired = b.d.Retire(t.Context(), b.path, p.ID, secret.RetireDelete) })
		wg.Wait()
		if retired != nil && !errors.Is(retired, store.ErrConflict) {
			t.Fatalf("retire: %v", retired)
		}
		v, _, err := b.d.Get(t.Context(), b.path, store.Selector{Primary: true})
		lost := errors.Is(promoted, store.ErrConflict) || errors.Is(promoted, store.ErrNotFound)
		if err != nil || lost != (v.ID == current) || !lost && v.ID != p.ID {
			t.Fatalf("promote of %s returned %v, retire %v: current is %q, %v", p.ID, promoted, retired, v.ID, err)
		}
		current = v.ID
	}
}

// retireWhile retires through a [store.Store], which every driver has to allow
// only while the version that the caller thinks is current is.
func retireWhile(t *testing.T, b *bench) {
	t.Helper()
	s, err := store.New("conformance", b.d, nil)
	if err != nil {
		t.Fatal(err)
	}
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	b.wantErr("retire while version 1 is current", s.RetireWhile(t.Context(), b.path, v1, secret.RetireDelete, v1), store.ErrConflict)
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v2, secret.StagePrevious: v1})
	if err := s.RetireWhile(t.Context(), b.path, v1, secret.RetireDelete, v2); err != nil {
		t.Error(err)
	}
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v2})
}

// remade deletes a secret and makes it anew from the same tokens, as a rotation does
// that knows of no secret before.
func remade(t *testing.T, b *bench) {
	t.Helper()
	if b.h.Delete == nil {
		return
	}
	b.rotate(1, "")
	before := b.describe()
	if err := b.h.Delete(t.Context(), b.path); err != nil {
		t.Fatal(err)
	}
	// A driver may remember the one before until a call fails.
	if _, err := b.d.Put(t.Context(), b.path, b.write(1, "")); err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	b.rotate(1, "")
	if after := b.describe(); after.Incarnation == before.Incarnation || after.Incarnation == "" {
		t.Errorf("the incarnation is %q, and that of the secret before was %q", after.Incarnation, before.Incarnation)
	}
}
