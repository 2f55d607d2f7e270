package storetest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tradepulse/rotator/pkg/store"
)

func proveDeletesAll(t *testing.T, b *bench) error {
	t.Helper()
	d, ok := b.d.(store.Deleter)
	if !ok {
		return errors.New("the driver is not a store.Deleter")
	}
	ctx, other := t.Context(), &bench{t: t, h: b.h, d: b.d, path: b.path + "-2"}
	kept := other.rotate(1, "")
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	b.put(b.write(3, v2))
	if err := d.Delete(ctx, b.path, v1); !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("delete while version 2 is current: %w, want an error that wraps store.ErrConflict", orNil(err))
	}
	if got, val, err := b.d.Get(ctx, b.path, store.Selector{}); err != nil || got.ID != v2 || !val.Equal(b.write(2, v1).Value) {
		return fmt.Errorf("after a refused delete, version 2 is not current: %w", orNil(err))
	}
	for range 2 { // once more, as after an interruption
		if err := d.Delete(ctx, b.path, v2); err != nil {
			return fmt.Errorf("delete: %w", err)
		}
	}
	if err := b.gone(store.Selector{}, store.Selector{Version: v1}, store.Selector{Version: v2}, store.Selector{Stage: "pending"}); err != nil {
		return err
	}
	if got, val, err := b.d.Get(ctx, other.path, store.Selector{}); err != nil || got.ID != kept || !val.Equal(other.write(1, "").Value) {
		return fmt.Errorf("another secret whose path begins alike is gone: %w", orNil(err))
	}
	return nil
}

// gone returns an error if anything of the secret is there.
func (b *bench) gone(sels ...store.Selector) error {
	b.t.Helper()
	if _, err := b.d.Describe(b.t.Context(), b.path); !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("describe: %w, want an error that wraps store.ErrNotFound", orNil(err))
	}
	for _, sel := range sels {
		if _, _, err := b.d.Get(b.t.Context(), b.path, sel); !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("get %+v: %w, want an error that wraps store.ErrNotFound", sel, orNil(err))
		}
	}
	for m, err := range b.d.List(b.t.Context()) {
		if err != nil {
			b.t.Fatal(err)
		}
		if m.Path == b.path {
			return errors.New("it is listed")
		}
	}
	return nil
}
