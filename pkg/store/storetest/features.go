package storetest

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// proof shows that a driver can do what it declares in one field of
// [store.Features].
type proof struct {
	field    string
	declared func(store.Features) bool
	// prove returns an error unless the driver does what the field says.
	prove func(*testing.T, *bench) error
	// absent, if set, returns an error when a driver that does not declare the
	// field can do it all the same.
	absent func(store.Driver) error
}

// proofs has one entry for each field.
var proofs = []proof{
	{"ReadOnly", func(f store.Features) bool { return f.ReadOnly }, proveReadOnly, nil},
	{"KeepsExpiry", func(f store.Features) bool { return f.KeepsExpiry }, proveKeepsExpiry, nil},
	{"KeepsRetired", func(f store.Features) bool { return f.KeepsRetired }, proveKeepsRetired, nil},
	{"Deletes", func(f store.Features) bool { return f.Deletes }, proveDeletes, nil},
	{"DeletesAll", func(f store.Features) bool { return f.DeletesAll }, proveDeletesAll, implementsNo[store.Deleter]},
	{"Fenced", func(f store.Features) bool { return f.Fenced }, proveFenced, implementsNo[store.FencedRetirer]},
	{"Attributes", func(f store.Features) bool { return f.Attributes }, proveAttributes, nil},
	{"External", func(f store.Features) bool { return f.External }, proveExternal, implementsNo[store.ExternalRotator]},
	{"Keyset", func(f store.Features) bool { return f.Keyset }, proveKeyset, implementsNo[store.KeysetRotator]},
	{"OnBus", func(f store.Features) bool { return f.OnBus }, proveOnBus, nil},
	{"EventSource", func(f store.Features) bool { return f.EventSource != "" }, proveEventSource, nil},
}

// check returns an error when the driver does not do what it declares.
func (p proof) check(t *testing.T, b *bench) error {
	t.Helper()
	var err error
	switch {
	case p.declared(b.d.Features()):
		err = p.prove(t, b)
	case p.absent != nil:
		err = p.absent(b.d)
	}
	if err != nil {
		return fmt.Errorf("feature %s: %w", p.field, err)
	}
	return nil
}

func implementsNo[T any](d store.Driver) error {
	if _, ok := d.(T); ok {
		return errors.New("the driver implements the interface; declare the feature")
	}
	return nil
}

// lacks is the error for a harness that cannot prove what its driver declares.
func lacks(hook string) error {
	return fmt.Errorf("it is declared; set Harness.%s to prove it", hook)
}

func proveReadOnly(t *testing.T, b *bench) error {
	t.Helper()
	if b.h.Seed == nil {
		return lacks("Seed")
	}
	ctx, want := t.Context(), b.write(1, "").Value
	b.h.Seed(t, b.path, want)
	v := b.describe().Current().ID
	_, put := b.d.Put(ctx, b.path, b.write(2, v))
	for op, err := range map[string]error{
		"put":     put,
		"promote": b.d.Promote(ctx, b.path, v, secret.VersionID(b.token(2))),
		"retire":  b.d.Retire(ctx, b.path, v, secret.RetireDelete),
	} {
		if !errors.Is(err, store.ErrReadOnly) {
			return fmt.Errorf("%s: %w, want an error that wraps store.ErrReadOnly", op, orNil(err))
		}
	}
	if got, val, err := b.d.Get(ctx, b.path, store.Selector{}); err != nil || got.ID != v || !val.Equal(want) {
		return fmt.Errorf("the current version is %s, not the seeded one: %w", got.ID, orNil(err))
	}
	return nil
}

func proveKeepsExpiry(t *testing.T, b *bench) error {
	t.Helper()
	w := b.write(1, "")
	w.NotAfter = time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	put := b.put(w)
	if got, _ := b.describe().Version(put.ID); !got.NotAfter.Equal(w.NotAfter) {
		return fmt.Errorf("the version ends at %s, want %s", got.NotAfter, w.NotAfter)
	}
	w = b.write(2, "")
	w.Replace, w.Lifetime = put.ID, time.Hour
	put = b.put(w)
	if got, _ := b.describe().Version(put.ID); !got.NotAfter.Equal(got.CreatedAt.Add(w.Lifetime)) {
		return fmt.Errorf("the version of an hour that was made at %s ends at %s", got.CreatedAt, got.NotAfter)
	}
	return nil
}

func proveKeepsRetired(t *testing.T, b *bench) error {
	t.Helper()
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	if err := b.d.Retire(t.Context(), b.path, v1, secret.RetireKeep); err != nil {
		t.Fatal(err)
	}
	b.rotate(4, b.rotate(3, v2))
	for n, v := range map[int]secret.VersionID{1: v1, 2: v2} {
		if _, val, err := b.d.Get(t.Context(), b.path, store.Selector{Version: v}); err != nil || !val.Equal(b.write(n, "").Value) {
			return fmt.Errorf("version %d is not what it was: %w", n, orNil(err))
		}
	}
	return nil
}

func proveDeletes(t *testing.T, b *bench) error {
	t.Helper()
	v := b.rotate(1, "")
	for n, mode := range []secret.RetireMode{secret.RetireDelete, secret.RetireDestroy} {
		next := b.rotate(n+2, v)
		if err := b.d.Retire(t.Context(), b.path, v, mode); err != nil {
			t.Fatal(err)
		}
		if _, _, err := b.d.Get(t.Context(), b.path, store.Selector{Version: v}); !errors.Is(err, store.ErrNoValue) && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("after %s the version can be read: %w", mode, orNil(err))
		}
		v = next
	}
	return nil
}

func proveFenced(t *testing.T, b *bench) error {
	t.Helper()
	d, ok := b.d.(store.FencedRetirer)
	if !ok {
		return errors.New("the driver is not a store.FencedRetirer")
	}
	v1 := b.rotate(1, "")
	v2 := b.rotate(2, v1)
	v3 := b.rotate(3, v2)
	if err := d.RetireWhile(t.Context(), b.path, v2, secret.RetireDelete, v2); !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("retire while version 2 is current: %w, want an error that wraps store.ErrConflict", orNil(err))
	}
	if prev, _ := b.describe().At(secret.StagePrevious); prev.ID != v2 {
		return fmt.Errorf("the previous version is %q, want version 2", prev.ID)
	}
	if err := d.RetireWhile(t.Context(), b.path, v2, secret.RetireDelete, v3); err != nil {
		return fmt.Errorf("retire while version 3 is current: %w", err)
	}
	if prev, ok := b.describe().At(secret.StagePrevious); ok {
		return fmt.Errorf("version %s is still the previous one", prev.ID)
	}
	return nil
}

func proveAttributes(t *testing.T, b *bench) error {
	t.Helper()
	if b.h.Tag == nil {
		return lacks("Tag")
	}
	want := map[string]string{"team": "payments", "rotator:managed": "true"}
	b.rotate(1, "")
	b.h.Tag(t, b.path, want)
	if got := b.describe().Attributes; !maps.Equal(got, want) {
		return fmt.Errorf("Describe returns %v, want %v", got, want)
	}
	for m, err := range b.d.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Path == b.path && !maps.Equal(m.Attributes, want) {
			return fmt.Errorf("List yields %v, want %v", m.Attributes, want)
		}
	}
	return nil
}

func proveExternal(t *testing.T, b *bench) error {
	t.Helper()
	d, ok := b.d.(store.ExternalRotator)
	switch {
	case !ok:
		return errors.New("the driver is not a store.ExternalRotator")
	case b.h.Schedule == nil:
		return lacks("Schedule")
	}
	v1 := b.rotate(1, "")
	b.h.Schedule(t, b.path)
	token := secret.NewToken(secret.ID(b.path), v1, "conformance", 2)
	if err := d.Trigger(t.Context(), b.path, token); err != nil {
		return fmt.Errorf("trigger: %w", err)
	}
	if v, ok := b.describe().Version(secret.VersionID(token)); !ok || v.Token != token {
		return fmt.Errorf("there is no version with the id and token %s", token)
	}
	return nil
}

func proveKeyset(t *testing.T, b *bench) error {
	t.Helper()
	d, ok := b.d.(store.KeysetRotator)
	if !ok {
		return errors.New("the driver is not a store.KeysetRotator")
	}
	v := b.rotate(1, "")
	for range 2 {
		if err := d.RotateKeyset(t.Context()); err != nil {
			return err
		}
		if _, val, err := b.d.Get(t.Context(), b.path, store.Selector{Version: v}); err != nil || !val.Equal(b.write(1, "").Value) {
			return fmt.Errorf("the value cannot be read afterwards: %w", orNil(err))
		}
	}
	return nil
}

func proveOnBus(t *testing.T, b *bench) error {
	t.Helper()
	if b.h.Cut == nil {
		return lacks("Cut")
	}
	b.rotate(1, "")
	if _, err := b.h.Cut(t).Describe(t.Context(), b.path); !errors.Is(err, store.ErrUnavailable) {
		return fmt.Errorf("describe without a connection: %w, want an error that wraps store.ErrUnavailable", orNil(err))
	}
	return nil
}

func proveEventSource(t *testing.T, b *bench) error {
	t.Helper()
	d, ok := b.d.(store.PathNormalizer)
	switch {
	case !ok:
		return errors.New("the driver is not a store.PathNormalizer")
	case b.h.EventName == nil:
		return lacks("EventName")
	}
	b.rotate(1, "")
	if name := b.h.EventName(t, b.path); d.NormalPath(name) != b.path {
		return fmt.Errorf("an event names the secret %s, which is %q to the driver, want %s", name, d.NormalPath(name), b.path)
	}
	return nil
}

// orNil lets a missing error be wrapped like any other.
func orNil(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}
