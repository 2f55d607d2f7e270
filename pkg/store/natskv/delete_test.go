package natskv_test

import (
	"context"
	"errors"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestADeletedSecretLeavesNoValue, also when the process that deletes it dies in between.
func TestADeletedSecretLeavesNoValue(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	d := open(t, js, masterKey(1))
	write(t, d, "one", "Value-Of-One-000!")
	second := write(t, d, "one", "Value-Of-Two-000!")
	write(t, d, "other", "Value-Of-Another!")
	ctx, crash := context.WithCancel(t.Context())
	dying := open(t, &interrupted{JetStream: js, prefix: "s.", nth: 1, after: true, do: crash}, masterKey(1))
	if err := dying.Delete(ctx, "one", second); !errors.Is(err, context.Canceled) {
		t.Fatalf("delete: %v, want that it was interrupted", err)
	}
	if left := allValues(t, js, "one"); len(left) != 2 {
		t.Fatalf("the values are %v, want both", left)
	}
	if err := d.Delete(t.Context(), "one", second); err != nil {
		t.Fatal(err)
	}
	if left := allValues(t, js, "one"); len(left) != 0 {
		t.Errorf("the values %v are left", left)
	}
	if got := read(t, d, "other"); got != "Value-Of-Another!" {
		t.Errorf("the value of another secret is %q", got)
	}
}

// TestADeletionAndAWriter deletes a secret at every point of a writer: one that may not
// make the secret fails, one that may makes a whole one, and no value is left over.
func TestADeletionAndAWriter(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]interrupted{
		"before the value is stored":     {prefix: "v.", nth: 1},
		"after the value was stored":     {prefix: "v.", nth: 1, after: true},
		"before the document is written": {prefix: "s.", nth: 1},
	} {
		for _, create := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				js, _ := startServer(t)
				d := open(t, js, masterKey(1))
				first := write(t, d, "one", "Value-Of-One-000!")
				at := at
				at.JetStream, at.do = js, func() {
					if err := d.Delete(t.Context(), "one", first); err != nil {
						t.Error(err)
					}
				}
				_, err := open(t, &at, masterKey(1)).Put(t.Context(), "one", store.Write{Token: "second", From: first, Value: secret.NewValue([]byte("Value-Of-Two-000!")), Create: create})
				if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
					t.Errorf("put in place of a version that was deleted: %v", err)
				}
				if left := allValues(t, js, "one"); len(left) != 0 {
					t.Errorf("the values %v are left", left)
				}
			})
		}
	}
}
