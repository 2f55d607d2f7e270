package storetest

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestEveryFeatureHasAProof also fixes their order to that of the fields.
func TestEveryFeatureHasAProof(t *testing.T) {
	t.Parallel()
	typ := reflect.TypeFor[store.Features]()
	if len(proofs) != typ.NumField() {
		t.Fatalf("%d proofs for %d fields of store.Features", len(proofs), typ.NumField())
	}
	for i, p := range proofs {
		var f store.Features
		if v := reflect.ValueOf(&f).Elem().Field(i); v.Kind() == reflect.Bool {
			v.SetBool(true)
		} else {
			v.SetString("a source")
		}
		if name := typ.Field(i).Name; p.field != name || !p.declared(f) || p.declared(store.Features{}) {
			t.Errorf("proof %d is of %s, or not of that field alone; want %s", i, p.field, name)
		}
	}
}

// liar declares what it is told to, and can do none of it besides what fields say.
type liar struct {
	*Mem
	features store.Features
}

func (l liar) Features() store.Features { return l.features }

func (l liar) Put(ctx context.Context, path string, w store.Write) (secret.Version, error) {
	w.NotAfter, w.Lifetime = time.Time{}, 0
	return l.Mem.Put(ctx, path, w)
}

func (l liar) Describe(ctx context.Context, path string) (secret.Metadata, error) {
	m, err := l.Mem.Describe(ctx, path)
	m.Attributes = nil
	return m, err
}

func (l liar) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		for m, err := range l.Mem.List(ctx) {
			m.Attributes = nil
			if !yield(m, err) {
				return
			}
		}
	}
}

// Retire deletes what it has to keep, and keeps what it has to delete.
func (l liar) Retire(ctx context.Context, path string, v secret.VersionID, mode secret.RetireMode) error {
	if mode == secret.RetireKeep {
		mode = secret.RetireDestroy
	} else {
		mode = secret.RetireKeep
	}
	return l.Mem.Retire(ctx, path, v, mode)
}

// RetireWhile does not look at what is current.
func (l liar) RetireWhile(ctx context.Context, path string, v secret.VersionID, mode secret.RetireMode, _ secret.VersionID) error {
	return l.Mem.Retire(ctx, path, v, mode)
}

// deaf has the methods of every interface, and they do nothing.
type deaf struct{ liar }

func (deaf) Trigger(context.Context, string, secret.Token) error { return nil }
func (deaf) Delete(context.Context, string, secret.VersionID) error {
	return nil
}

func (deaf) RotateKeyset(context.Context) error { return fmt.Errorf("%w: no", store.ErrInvalid) }
func (deaf) NormalPath(path string) string      { return path }

// TestADriverThatCannotDoWhatItDeclaresFails runs each proof against a driver
// without the methods of the feature, and against one whose methods do nothing.
func TestADriverThatCannotDoWhatItDeclaresFails(t *testing.T) {
	t.Parallel()
	for i, p := range proofs {
		var f store.Features
		if v := reflect.ValueOf(&f).Elem().Field(i); v.Kind() == reflect.Bool {
			v.SetBool(true)
		} else {
			v.SetString("a source")
		}
		l := liar{NewMem(nil), f}
		for _, d := range []store.Driver{l, deaf{l}} {
			h := Harness{
				Driver: d,
				Seed: func(t *testing.T, path string, v secret.Value) {
					t.Helper()
					(&bench{t: t, d: d, path: path}).rotate(1, "")
				},
				Tag:       func(_ *testing.T, path string, attrs map[string]string) { l.SetAttributes(path, attrs) },
				Schedule:  func(*testing.T, string) {},
				Cut:       func(*testing.T) store.Driver { return d },
				EventName: func(_ *testing.T, path string) string { return "arn:" + path },
			}
			if err := p.check(t, &bench{t: t, h: h, d: d, path: unique(t)}); err == nil || strings.Contains(err.Error(), "Harness.") {
				t.Errorf("%T declares %s alone: %v, want an error about the driver", d, p.field, err)
			}
		}
	}
}

// TestADeclaredFeatureNeedsAHook: a harness cannot pass by leaving a hook out.
func TestADeclaredFeatureNeedsAHook(t *testing.T) {
	t.Parallel()
	all := store.Features{ReadOnly: true, Attributes: true, External: true, OnBus: true, EventSource: "a source"}
	for _, p := range proofs {
		if !p.declared(all) {
			continue
		}
		d := deaf{liar{NewMem(nil), all}}
		if err := p.check(t, &bench{t: t, h: Harness{Driver: d}, d: d, path: unique(t)}); err == nil || !strings.Contains(err.Error(), "set Harness.") {
			t.Errorf("%s: %v, want the hook that proves it", p.field, err)
		}
	}
}

// TestAnInterfaceHasToBeDeclared: a program asks the features, not the methods.
func TestAnInterfaceHasToBeDeclared(t *testing.T) {
	t.Parallel()
	d := deaf{liar{NewMem(nil), store.Features{}}}
	var undeclared []string
	for _, p := range proofs {
		if p.check(t, &bench{t: t, h: Harness{Driver: d}, d: d, path: unique(t)}) != nil {
			undeclared = append(undeclared, p.field)
		}
	}
	if got := strings.Join(undeclared, " "); got != "DeletesAll Fenced External Keyset" {
		t.Errorf("the suite misses declarations of %q, want DeletesAll, Fenced, External and Keyset", got)
	}
}
