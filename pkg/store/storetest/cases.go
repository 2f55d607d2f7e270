package storetest

import (
	"bytes"
	"context"
	"errors"
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
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	if err := b.d.Retire(t.Context(), b.path, v1, secret.RetireKeep); err != nil {
		t.Fatal(err)
	}
	if b.h.KeepsRetired {
		if _, val, err := b.d.Get(t.Context(), b.path, store.Selector{Version: v1}); err != nil || !val.Equal(b.write(1, "").Value) {
			t.Errorf("a kept version: %v", err)
		}
	}
	b.rotate(3, v2)
	for _, mode := range []secret.RetireMode{secret.RetireDelete, secret.RetireDestroy} {
		if err := b.d.Retire(t.Context(), b.path, v2, mode); err != nil {
			t.Fatal(err)
		}
		if !b.h.Deletes {
			continue
		}
		_, _, err := b.d.Get(t.Context(), b.path, store.Selector{Version: v2})
		if !errors.Is(err, store.ErrNoValue) && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after %s the version can still be read: %v", mode, err)
		}
	}
}

func roundTrip(t *testing.T, b *bench) {
	t.Helper()
	w := b.write(1, "")
	w.NotAfter = time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	before := time.Now()
	put := b.put(w)
	got, ok := b.describe().Version(put.ID)
	if !ok || got.Token != w.Token || got.Stage != secret.StagePending {
		t.Errorf("described as token %q, stage %q; want %q, pending", got.Token, got.Stage, w.Token)
	}
	if b.h.NotAfter && !got.NotAfter.Equal(w.NotAfter) {
		t.Errorf("not after %s, want %s", got.NotAfter, w.NotAfter)
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
		n = 1000
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

func cancelled(t *testing.T, b *bench) {
	t.Helper()
	b.rotate(1, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.d.Describe(ctx, b.path)
	b.wantErr("describe", err, context.Canceled)
	_, _, err = b.d.Get(ctx, b.path, store.Selector{})
	b.wantErr("get", err, context.Canceled)
}

func deleted(t *testing.T, b *bench) {
	t.Helper()
	if b.h.Delete == nil {
		return
	}
	v1 := b.rotate(1, "")
	if err := b.h.Delete(t.Context(), b.path); err != nil {
		t.Fatal(err)
	}
	_, err := b.d.Describe(t.Context(), b.path)
	b.wantErr("describe", err, store.ErrNotFound)
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
	calls := map[string]func(store.Driver) error{
		"describe": func(d store.Driver) error { _, err := d.Describe(t.Context(), b.path); return err },
		"list": func(d store.Driver) error {
			for _, err := range d.List(t.Context()) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"get":     func(d store.Driver) error { _, _, err := d.Get(t.Context(), b.path, store.Selector{}); return err },
		"put":     func(d store.Driver) error { _, err := d.Put(t.Context(), b.path, b.write(2, v1)); return err },
		"promote": func(d store.Driver) error { return d.Promote(t.Context(), b.path, v1, v2.ID) },
		"retire":  func(d store.Driver) error { return d.Retire(t.Context(), b.path, v2.ID, secret.RetireDelete) },
	}
	for op, call := range calls {
		b.wantErr(op, call(b.h.Deny(t, op)), store.ErrAccessDenied)
	}
}

func throttled(t *testing.T, b *bench) {
	t.Helper()
	if b.h.Throttle == nil {
		return
	}
	b.rotate(1, "")
	_, err := b.h.Throttle(t).Describe(t.Context(), b.path)
	b.wantErr("describe", err, store.ErrThrottled)
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
