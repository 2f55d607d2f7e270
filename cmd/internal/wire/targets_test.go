package wire_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/target"
)

// TestTargetsTellAGoneValueFromAFailure: a target revokes a version whose value the
// store no longer has, and not one that the store does not let it read.
func TestTargetsTellAGoneValueFromAFailure(t *testing.T) {
	t.Parallel()
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(s.Close)
	mem := storetest.NewMem(nil)
	st, err := store.New("main", mem, nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	var versions []secret.VersionID
	for n, from := range []secret.VersionID{"", "token-0"} {
		v, err := st.Put(t.Context(), "KEY", store.Write{Token: secret.Token(fmt.Sprint("token-", n)), From: from, Value: secret.NewValue(fmt.Append(nil, "Value-", n)), Create: true})
		if err := errors.Join(err, st.Promote(t.Context(), "KEY", from, v.ID)); err != nil {
			t.Fatal(err)
		}
		versions = append(versions, v.ID)
	}
	cfg := &config.Config{
		Secrets: []config.Secret{{ID: "KEY", Target: config.SecretTarget{Name: "hook"}}},
		Targets: map[string]config.Target{"hook": {Options: &config.Hook{URL: s.URL}}},
	}
	tg, err := wire.NewTargets(cfg, nil, set).For(t.Context(), secret.Spec{ID: "KEY", Store: "main"})
	if err != nil {
		t.Fatal(err)
	}
	revoke := func() error {
		return tg.Revoke(t.Context(), target.Ref{Secret: "KEY", Version: versions[0]}, target.Drain{})
	}
	reads := 0
	for _, failure := range []error{store.ErrUnavailable, store.ErrThrottled, store.ErrAccessDenied, store.ErrDeleted} {
		reads = 0
		mem.Fault = func(op, _ string) error {
			if reads++; op == "get" && reads == 2 { // after that of the current version
				return failure
			}
			return nil
		}
		if err := revoke(); !errors.Is(err, failure) || errors.Is(err, target.ErrGone) || asked != 0 {
			t.Errorf("%v: revoke returned %v, and the hook was asked %d times", failure, err, asked)
		}
	}
	mem.Fault = nil
	if err := st.Retire(t.Context(), "KEY", versions[0], secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	if err := revoke(); err != nil || asked != 1 {
		t.Errorf("the value is gone: revoke returned %v, and the hook was asked %d times", err, asked)
	}
}
