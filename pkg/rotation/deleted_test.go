package rotation_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestADeletedSecretIsNotRotatedByHand, whatever create says.
func TestADeletedSecretIsNotRotatedByHand(t *testing.T) {
	t.Parallel()
	gone := secret.Metadata{Deleted: "version 1 was deleted"}
	for _, create := range []bool{true, false} {
		spec := secret.Spec{ID: "ID", Create: create}
		if _, err := rotation.Manual(time.Now(), "", spec, gone, nil); !errors.Is(err, secret.ErrDeleted) {
			t.Errorf("create: %t: its version was deleted: %v", create, err)
		}
		if _, err := rotation.Manual(time.Now(), "", spec, secret.Metadata{}, secret.ErrDeleted); !errors.Is(err, secret.ErrDeleted) {
			t.Errorf("create: %t: it was deleted: %v", create, err)
		}
	}
	if _, err := rotation.Manual(time.Now(), "", secret.Spec{ID: "ID", Create: true}, secret.Metadata{}, secret.ErrNotFound); err != nil {
		t.Errorf("one that never was: %v", err)
	}
}
