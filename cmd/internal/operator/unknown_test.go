package operator

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/catalog"
)

// TestUnknownSaysWhatToDo: about an ID that is close to another, and about one that
// the next sweep may find.
func TestUnknownSaysWhatToDo(t *testing.T) {
	t.Parallel()
	known := []string{"orders/db-password", "orders/webhook-key"}
	for id, want := range map[string]string{
		"orders/db-pasword": "did you mean orders/db-password?",
		"billing/token":     "known after the next sweep",
	} {
		if err := unknown(fmt.Errorf("%w: %s", catalog.ErrUnknownSecret, id), known); !errors.Is(err, catalog.ErrUnknownSecret) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", id, err, want)
		}
	}
}
