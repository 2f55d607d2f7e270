package scheduler_test

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestAVersionOfAnotherProgramIsChecked: it is announced, with the rules of the policy
// that it breaks, once, and nothing shows the value.
func TestAVersionOfAnotherProgramIsChecked(t *testing.T) {
	t.Parallel()
	x := newSiteOf(t, secret.Spec{ID: id, Store: "mem", TTL: 24 * time.Hour})
	var log waittest.Buffer
	st, err := store.New("mem", externalRotator{x.mem}, &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.New(catalog.Config{Stores: stores, Specs: []secret.Spec{{ID: id, Store: "mem", TTL: 24 * time.Hour}}})
	if err != nil {
		t.Fatal(err)
	}
	if x.s, err = scheduler.New(scheduler.Config{Catalog: c, Stores: stores, Bus: x.bus, Source: "/test", Logger: slog.New(slog.NewJSONHandler(&log, nil))}); err != nil {
		t.Fatal(err)
	}
	for _, w := range []struct {
		value string
		rules []string
	}{
		{"weak-foreign-value", []string{"digit", "upper"}},
		{"Strong-Foreign-Value-1", nil},
		{"short", []string{"digit", "min_length", "symbol", "upper"}},
	} {
		v := x.writeValue(w.value)
		x.reconcile()
		x.reconcile()
		last, err := x.bus.Last(t.Context(), events.TypeRotated, id)
		got := slices.Sorted(slices.Values(last.Event.Data.Violations))
		if err != nil || last.Event.Data.VersionID != v || !slices.Equal(got, w.rules) {
			t.Errorf("%s: announced %s with %q, %v; want %s with %q", w.value, last.Event.Data.VersionID, got, err, v, w.rules)
		}
		if strings.Contains(log.String(), w.value) {
			t.Errorf("the log shows %s", w.value)
		}
	}
	x.mem.Fault = func(op, _ string) error {
		if op == "get" {
			return store.ErrAccessDenied
		}
		return nil
	}
	x.writeValue("unread")
	x.reconcile()
	if last, err := x.bus.Last(t.Context(), events.TypeRotated, id); err != nil || !last.Event.Data.Unchecked || len(last.Event.Data.Violations) > 0 {
		t.Errorf("a version that cannot be read: %+v, %v; want it unchecked", last.Event.Data, err)
	}
	if !strings.Contains(log.String(), `"msg":"secret.policy_unchecked"`) || !strings.Contains(log.String(), `"message":"unchecked: `) {
		t.Errorf("the log does not say that it was not checked:\n%s", log.String())
	}
	if n := strings.Count(log.String(), `"secret.policy_violated"`); n != 2 {
		t.Errorf("%d lines about violations, want 2:\n%s", n, log.String())
	}
}
