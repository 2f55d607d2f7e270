package natskv_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestARetirementThatLosesTheRaceTakesNothingAway promotes a pending version right
// before the write that gives it up.
func TestARetirementThatLosesTheRaceTakesNothingAway(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	other := open(t, js, masterKey(1))
	v, err := other.Put(t.Context(), "one", store.Write{Token: "first", Value: secret.NewValue([]byte("Value-Of-One-000!")), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, &interrupted{JetStream: js, prefix: "s.", nth: 1, do: func() {
		if err := other.Promote(t.Context(), "one", "", v.ID); err != nil {
			t.Error(err)
		}
	}}, masterKey(1))
	if err := d.Retire(t.Context(), "one", v.ID, secret.RetireDelete); !errors.Is(err, store.ErrConflict) {
		t.Errorf("retire: %v, want a conflict", err)
	}
	if got := read(t, d, "one"); got != "Value-Of-One-000!" {
		t.Error("the current version has lost its value")
	}
}

// TestAnInterruptedRetirementIsTakenUp stops a retirement at each of its writes.
// Until it is run again the version has no stage and counts as not yet empty.
func TestAnInterruptedRetirementIsTakenUp(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]interrupted{
		"before the value is removed": {prefix: "s.", nth: 1, after: true},
		"after the value is removed":  {prefix: "s.", nth: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js, _ := startServer(t)
			d := open(t, js, masterKey(1))
			first := write(t, d, "one", "Value-Of-One-000!")
			write(t, d, "one", "Value-Of-Two-000!")
			ctx, crash := context.WithCancel(t.Context())
			at.JetStream, at.do = js, crash
			if err := open(t, &at, masterKey(1)).Retire(ctx, "one", first, secret.RetireDelete); !errors.Is(err, context.Canceled) {
				t.Fatalf("retire: %v, want that it was interrupted", err)
			}
			m, err := d.Describe(t.Context(), "one")
			if err != nil {
				t.Fatal(err)
			}
			if v, _ := m.Version(first); v.Stage != secret.StageRetired || v.Empty || v.Kept {
				t.Errorf("the version is %s, empty %t, kept %t; want retired alone, or no run takes it up", v.Stage, v.Empty, v.Kept)
			}
			if err := d.Retire(t.Context(), "one", first, secret.RetireDelete); err != nil {
				t.Fatal(err)
			}
			if m, err = d.Describe(t.Context(), "one"); err != nil {
				t.Fatal(err)
			}
			if v, _ := m.Version(first); !v.Empty {
				t.Error("the version that was retired again is not empty")
			}
			if left := allValues(t, js, "one"); len(left) != 1 {
				t.Errorf("the values are %v, want that of the current version", left)
			}
		})
	}
}

func allValues(t *testing.T, js jetstream.JetStream, path string) []string {
	t.Helper()
	kv, err := js.KeyValue(t.Context(), "secrets")
	if err != nil {
		t.Fatal(err)
	}
	return values(t, kv, "v."+path+".*")
}

// TestARetirementSweepsValuesWithoutADocument: a writer died after it had stored
// a value for a version that never came about.
func TestARetirementSweepsValuesWithoutADocument(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	d := open(t, js, masterKey(1))
	first := write(t, d, "one", "Value-Of-One-000!")
	write(t, d, "one", "Value-Of-Two-000!")
	ctx, crash := context.WithCancel(t.Context())
	dying := open(t, &interrupted{JetStream: js, prefix: "s.", nth: 1, do: crash}, masterKey(1))
	if _, err := dying.Put(ctx, "one", store.Write{Token: "orphan", From: current(t, d, "one"), Value: secret.NewValue([]byte("Value-Of-Nobody!"))}); err == nil {
		t.Fatal("the writer did not die")
	}
	if left := allValues(t, js, "one"); len(left) != 3 {
		t.Fatalf("the values are %v, want two and one without a document", left)
	}
	if err := d.Retire(t.Context(), "one", first, secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	if left := allValues(t, js, "one"); len(left) != 1 || read(t, d, "one") != "Value-Of-Two-000!" {
		t.Errorf("the values are %v, want that of the current version", left)
	}
}

func current(t *testing.T, d store.Driver, path string) secret.VersionID {
	t.Helper()
	m, err := d.Describe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return m.Current().ID
}

// TestASweepTakesNoValueOfAWriter runs a retirement at every point of a writer,
// whose value no document refers to yet.
func TestASweepTakesNoValueOfAWriter(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]interrupted{
		"before the value is stored":     {prefix: "v.", nth: 1},
		"after the value was stored":     {prefix: "v.", nth: 1, after: true},
		"before the document is written": {prefix: "s.", nth: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js, _ := startServer(t)
			d := open(t, js, masterKey(1))
			first := write(t, d, "one", "Value-Of-One-000!")
			second := write(t, d, "one", "Value-Of-Two-000!")
			at.JetStream, at.do = js, func() {
				if err := d.Retire(t.Context(), "one", first, secret.RetireDelete); err != nil {
					t.Error(err)
				}
			}
			writer := open(t, &at, masterKey(1))
			v, err := writer.Put(t.Context(), "one", store.Write{Token: "third", From: second, Value: secret.NewValue([]byte("Value-Of-Three-0!"))})
			if err != nil {
				t.Fatal(err)
			}
			if err := writer.Promote(t.Context(), "one", second, v.ID); err != nil {
				t.Fatal(err)
			}
			if got := read(t, d, "one"); got != "Value-Of-Three-0!" {
				t.Errorf("read %q", got)
			}
			if left := allValues(t, js, "one"); len(left) != 2 {
				t.Errorf("the values are %v, want those of the current and the previous version", left)
			}
		})
	}
}
