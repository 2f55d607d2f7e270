package rotation

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tradepulse/rotator/pkg/store"
)

// TestEveryCodeHasItsMessage: the messages of events are a closed list.
func TestEveryCodeHasItsMessage(t *testing.T) {
	t.Parallel()
	for _, c := range codes {
		if got := failure(fmt.Errorf("%w: text of a server", c.err)); got.Code != c.code || got.Message != messages[c.code] || got.Message == "" {
			t.Errorf("%v is announced as %+v", c.err, got)
		}
	}
	for _, err := range []error{
		store.ErrNotFound, store.ErrNoValue, store.ErrConflict, store.ErrPending, store.ErrTokenReused, store.ErrAccessDenied,
		store.ErrThrottled, store.ErrUnavailable, store.ErrReadOnly, store.ErrInvalid,
	} {
		if got := failure(fmt.Errorf("%w: text of a server", err)); messages[got.Code] == "" || got.Message != messages[got.Code] {
			t.Errorf("%v is announced as %+v", err, got)
		}
	}
	if got := failure(errors.New("text of a server")); got.Message != unknownMessage {
		t.Errorf("an unknown error is announced as %+v", got)
	}
}
