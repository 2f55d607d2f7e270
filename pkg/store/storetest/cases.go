package storetest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

func retireStage(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	if err := b.d.Retire(t.Context(), b.path, v1, secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v2})
}

func retireCurrent(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	b.wantErr("retire", b.d.Retire(t.Context(), b.path, v1, secret.RetireDelete), store.ErrConflict)
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v1})
}

func retirePending(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.put(b.write(2, v1))
	if err := b.d.Retire(t.Context(), b.path, v2.ID, secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v1})
	b.rotate(3, v1)
}

func retireTwice(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	b.rotate(2, v1)
	for _, v := range []secret.VersionID{v1, v1, secret.VersionID(b.token(55))} {
		if err := b.d.Retire(t.Context(), b.path, v, secret.RetireDelete); err != nil {
			t.Errorf("retire %s: %v", v, err)
		}
	}
}

func retireModes(t *testing.T, b *bench) {
	t.Helper()
	v := b.rotate(1, "")
	for n, mode := range []secret.RetireMode{secret.RetireKeep, secret.RetireDelete, secret.RetireDestroy} {
		next := b.rotate(n+2, v)
		for range 2 {
			if err := b.d.Retire(t.Context(), b.path, v, mode); err != nil {
				t.Errorf("%s: %v", mode, err)
			}
		}
		b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: next})
		v = next
	}
}

// retireLater takes the stage of a version away and leaves its value, so that a reader of
// the stage finds nothing and the version stays listed until it is retired for good.
func retireLater(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	for range 2 {
		if err := b.d.Retire(t.Context(), b.path, v1, secret.RetireLater); err != nil {
			t.Fatal(err)
		}
		b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v2})
		if v, ok := b.describe().Version(v1); !ok || v.Stage != secret.StageRetired || v.Kept || v.Empty {
			t.Errorf("a version that is to be revoked is listed as %+v, %t; want retired, with a value, and not kept on purpose", v, ok)
		}
	}
	v3 := b.rotate(3, v2)
	if v, ok := b.describe().Version(v1); ok && (v.Kept || v.Empty) { // a store that keeps two versions drops it
		t.Errorf("after the next promotion the version that is to be revoked is %+v", v)
	}
	if err := b.d.Retire(t.Context(), b.path, v1, secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	if v, ok := b.describe().Version(v1); ok && (v.Stage != secret.StageRetired || !v.Kept && !v.Empty) {
		t.Errorf("after its retirement the version is %+v", v)
	}
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v3, secret.StagePrevious: v2})
}

func roundTrip(t *testing.T, b *bench) {
	t.Helper()
	w := b.write(1, "")
	before := time.Now()
	put := b.put(w)
	got, ok := b.describe().Version(put.ID)
	if !ok || got.Token != w.Token || got.Stage != secret.StagePending {
		t.Errorf("described as token %q, stage %q; want %q, pending", got.Token, got.Stage, w.Token)
	}
	if d := got.CreatedAt.Sub(before).Abs(); d > time.Hour {
		t.Errorf("created at %s, %s away from now", got.CreatedAt, d)
	}
}

func largest(t *testing.T, b *bench) {
	t.Helper()
	w := b.write(1, "")
	w.Value = secret.NewValue(bytes.Repeat([]byte{'x'}, secret.MaxValueLength))
	v := b.put(w)
	_, got, err := b.d.Get(t.Context(), b.path, store.Selector{Version: v.ID})
	if err != nil || !got.Equal(w.Value) {
		t.Errorf("64 KiB do not come back: %v", err)
	}
	w = b.write(3, "")
	w.Value, w.Replace = secret.NewValue(bytes.Repeat([]byte{0xff}, secret.MaxValueLength)), v.ID
	v = b.put(w)
	if _, got, err = b.d.Get(t.Context(), b.path, store.Selector{Version: v.ID}); err != nil || !got.Equal(w.Value) {
		t.Errorf("64 KiB that are no text do not come back: %v", err)
	}
	s, err := store.New("conformance", b.d, nil)
	if err != nil {
		t.Fatal(err)
	}
	w = b.write(2, "")
	w.Value, w.Replace = secret.NewValue(bytes.Repeat([]byte{'x'}, secret.MaxValueLength+1)), v.ID
	_, err = s.Put(t.Context(), b.path, w)
	b.wantErr("one byte more", err, store.ErrInvalid)
}

func anyBytes(t *testing.T, b *bench) {
	t.Helper()
	var from secret.VersionID
	for n, val := range []string{"\x00\x01\xfe\xff\x00binary", "schlüssel-ключ-鍵-🔑", " leading and trailing ", "{\"json\":\"<&>\"}"} {
		w := b.write(n, from)
		w.Value = value(val)
		v := b.put(w)
		if err := b.d.Promote(t.Context(), b.path, from, v.ID); err != nil {
			t.Fatal(err)
		}
		if _, got, err := b.d.Get(t.Context(), b.path, store.Selector{}); err != nil || !got.Equal(w.Value) {
			t.Errorf("value %d does not come back: %v", n, err)
		}
		from = v.ID
	}
}

func list(t *testing.T, b *bench) {
	t.Helper()
	n := b.h.ListOf
	if n == 0 {
		n = 300
	}
	want := map[string]secret.VersionID{}
	for i := range n {
		c := &bench{t: t, h: b.h, d: b.d, path: fmt.Sprintf("%s/%d", b.path, i)}
		want[c.path] = c.rotate(1, "")
	}
	for m, err := range b.d.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := b.d.(store.PathNormalizer); ok && m.Path != "" && n.NormalPath(m.Path) != m.Path {
			t.Errorf("%s is listed, and its normal form is %s", m.Path, n.NormalPath(m.Path))
		}
		if v, ok := want[m.Path]; ok {
			if m.Current().ID != v {
				t.Errorf("%s is listed with current %q, want %q", m.Path, m.Current().ID, v)
			}
			delete(want, m.Path)
		} else if strings.HasPrefix(m.Path, b.path) {
			t.Errorf("%s is listed twice", m.Path)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d of %d secrets are not listed", len(want), n)
	}
}

// operations are the calls on a secret with version 1 current and 2 pending, of
// which none has been made yet.
func (b *bench) operations(ctx context.Context, v1, v2 secret.VersionID) map[string]func(store.Driver) error {
	return map[string]func(store.Driver) error{
		"describe": func(d store.Driver) error { _, err := d.Describe(ctx, b.path); return err },
		"list": func(d store.Driver) error {
			for _, err := range d.List(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"get":     func(d store.Driver) error { _, _, err := d.Get(ctx, b.path, store.Selector{}); return err },
		"put":     func(d store.Driver) error { _, err := d.Put(ctx, b.path, b.write(2, v1)); return err },
		"promote": func(d store.Driver) error { return d.Promote(ctx, b.path, v1, v2) },
		"retire":  func(d store.Driver) error { return d.Retire(ctx, b.path, v2, secret.RetireDelete) },
	}
}

func cancelled(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.put(b.write(2, v1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for op, call := range b.operations(ctx, v1, v2.ID) {
		b.wantErr(op, call(b.d), context.Canceled)
	}
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v1, secret.StagePending: v2.ID})
}

func deleted(t *testing.T, b *bench) {
	t.Helper()
	if b.h.Delete == nil {
		return
	}
	v1 := b.rotate(1, "")
	v2 := b.put(b.write(2, v1))
	if err := b.h.Delete(t.Context(), b.path); err != nil {
		t.Fatal(err)
	}
	_, err := b.d.Describe(t.Context(), b.path)
	b.wantErr("describe", err, store.ErrNotFound)
	_, _, err = b.d.Get(t.Context(), b.path, store.Selector{})
	b.wantErr("get", err, store.ErrNotFound)
	b.wantErr("promote", b.d.Promote(t.Context(), b.path, v1, v2.ID), store.ErrNotFound)
	w := b.write(2, v1)
	w.Create = false
	_, err = b.d.Put(t.Context(), b.path, w)
	b.wantErr("put", err, store.ErrNotFound)
}

func denied(t *testing.T, b *bench) {
	t.Helper()
	if b.h.Deny == nil {
		return
	}
	v1 := b.rotate(1, "")
	v2 := b.put(b.write(2, v1))
	for op, call := range b.operations(t.Context(), v1, v2.ID) {
		b.wantErr(op, call(b.h.Deny(t, op)), store.ErrAccessDenied)
	}
}

func throttled(t *testing.T, b *bench) {
	t.Helper()
	if b.h.Throttle == nil {
		return
	}
	v1 := b.rotate(1, "")
	v2 := b.put(b.write(2, v1))
	for op, call := range b.operations(t.Context(), v1, v2.ID) {
		b.wantErr(op, call(b.h.Throttle(t)), store.ErrThrottled)
	}
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v1, secret.StagePending: v2.ID})
}

func stuckEmpty(t *testing.T, b *bench) {
	t.Helper()
	if b.h.Stick == nil {
		return
	}
	v1 := b.rotate(1, "")
	b.h.Stick(t, b.path, b.token(2))
	if p, ok := b.describe().At(secret.StagePending); !ok || !p.Empty || p.Token != b.token(2) {
		t.Errorf("pending is %s with token %s, empty %t; want an empty one of token %s", p.ID, p.Token, p.Empty, b.token(2))
	}
	_, _, err := b.d.Get(t.Context(), b.path, store.Selector{Stage: secret.StagePending})
	b.wantErr("get", err, store.ErrNoValue)
	_, err = b.d.Put(t.Context(), b.path, b.write(3, v1))
	b.wantErr("put of another rotation", err, store.ErrPending)
	v2 := b.rotate(2, v1) // the rotation that made it goes on with it

	b.h.Stick(t, b.path, b.token(4))
	w := b.write(5, v2)
	w.Replace = secret.VersionID(b.token(4))
	v5 := b.put(w)
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v2, secret.StagePrevious: v1, secret.StagePending: v5.ID})
}

func stuckCurrent(t *testing.T, b *bench) {
	t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	_, _, err := b.d.Get(t.Context(), b.path, store.Selector{Stage: secret.StagePending})
	b.wantErr("get what is pending", err, store.ErrNotFound)
	v3 := b.put(b.write(3, v2))
	b.wantStages(map[secret.Stage]secret.VersionID{secret.StageCurrent: v2, secret.StagePrevious: v1, secret.StagePending: v3.ID})
}

// behind lets a process act on what it read before another rotated the secret. It
// may still write a pending version where the service cannot refuse that.
func behind(t *testing.T, b *bench) {
	t.Helper()
	if b.h.Another == nil {
		return
	}
	slow := b.h.Another(t)
	v1 := b.rotate(1, "")
	if _, err := slow.Describe(t.Context(), b.path); err != nil {
		t.Fatal(err)
	}
	v2 := b.rotate(2, v1)
	v3, err := slow.Put(t.Context(), b.path, b.write(3, v1))
	if err == nil {
		err = slow.Promote(t.Context(), b.path, v1, v3.ID)
	}
	b.wantErr("put and promote from version 1", err, store.ErrConflict)
	if err := slow.Promote(t.Context(), b.path, v1, v2); err != nil {
		t.Errorf("promote what the other process has promoted: %v", err)
	}
	m := b.describe()
	if prev, _ := m.At(secret.StagePrevious); m.Current().ID != v2 || prev.ID != v1 {
		t.Errorf("current is %s and previous %s, want version 2 and 1", m.Current().ID, prev.ID)
	}
}

func canary(t *testing.T, b *bench) {
	t.Helper()
	const bird = "Canary-9f31c7-Value!"
	v1 := b.rotate(1, "")
	w := b.write(2, v1)
	w.Value = value(bird)
	b.put(w)
	w.Value = value(bird + "2")
	_, reused := b.d.Put(t.Context(), b.path, w)
	w.Token = b.token(3)
	_, pending := b.d.Put(t.Context(), b.path, w)
	w.From = "nobody"
	_, conflict := b.d.Put(t.Context(), b.path, w)
	for _, err := range []error{reused, pending, conflict} {
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), bird) {
			t.Errorf("the error is nil or holds the value")
		}
	}
}
