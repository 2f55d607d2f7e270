package env_test

import (
	"errors"
	"testing"

	"github.com/tradepulse/rotator/pkg/store"
)

// TestAPathThatIsNoNameOfAVariable is one that a shell can set, and the error names it.
func TestAPathThatIsNoNameOfAVariable(t *testing.T) {
	t.Parallel()
	const path = "orders/db-password"
	for variable, want := range map[string]string{"ORDERS_DB_PASSWORD": "x", path: "y"} {
		if _, v, err := open(map[string]string{variable: want}).Get(t.Context(), path, store.Selector{}); err != nil || string(v.Reveal()) != want {
			t.Errorf("%s: %v", variable, err)
		}
	}
	_, _, err := open(nil).Get(t.Context(), path, store.Selector{})
	if remedy, ok := errors.AsType[interface {
		error
		Remedy() string
	}](err); !ok || remedy.Remedy() != "set ORDERS_DB_PASSWORD" {
		t.Errorf("%v", err)
	}
}
