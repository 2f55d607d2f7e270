package storetest

import (
	"errors"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// withdrawn lets a process promote the pending version that it wrote or saw a moment
// ago, after another one has given that up or put its own in its place.
func withdrawn(t *testing.T, b *bench) {
	t.Helper()
	other := b.d
	if b.h.Another != nil {
		other = b.h.Another(t)
	}
	current := b.rotate(1, "")
	lose := func(how string, n int, take func(p secret.VersionID) error) {
		t.Helper()
		p := b.put(b.write(n, current))
		if how == "seen" {
			b.describe()
		}
		if err := take(p.ID); err != nil {
			t.Fatal(err)
		}
		err := b.d.Promote(t.Context(), b.path, current, p.ID)
		if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("promote version %d, %s: %v, want a conflict or not found", n, how, err)
		}
		v, got, err := other.Get(t.Context(), b.path, store.Selector{Primary: true})
		if err != nil || v.ID != current || !got.Equal(b.write(1, "").Value) {
			t.Fatalf("after version %d, %s, the current one is %s, %v; want version 1", n, how, v.ID, err)
		}
	}
	retire := func(p secret.VersionID) error {
		return other.Retire(t.Context(), b.path, p, secret.RetireDelete)
	}
	replace := func(n int) func(secret.VersionID) error {
		return func(p secret.VersionID) error {
			w := b.write(n, current)
			w.Replace = p
			_, err := other.Put(t.Context(), b.path, w)
			return err
		}
	}
	lose("written", 2, retire)
	lose("seen", 3, retire)
	lose("written", 4, replace(5))
	if err := b.d.Retire(t.Context(), b.path, pendingOf(b), secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	lose("seen", 6, replace(7))
	last := pendingOf(b)
	if err := b.d.Promote(t.Context(), b.path, current, last); err != nil {
		t.Errorf("promote what the other process has written, once it is known: %v", err)
	}
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: last, secret.StagePrevious: current})
}

func pendingOf(b *bench) secret.VersionID {
	b.t.Helper()
	p, _ := b.describe().At(secret.StagePending)
	return p.ID
}
