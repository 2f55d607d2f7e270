package targettest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/target"
)

func suspension(t *testing.T, h *Harness) {
	s, ok := h.Target.(target.Suspender)
	if !ok || h.Target.Capabilities().Overlap == target.OverlapNone {
		return
	}
	v1 := h.rotate(t, "v1")
	v2 := h.rotate(t, "v2")
	h.refusals(t, false)
	for range 2 {
		if err := s.Suspend(t.Context(), h.ref("v1")); err != nil {
			t.Fatal(err)
		}
	}
	h.fails(t, "the suspended version", v1)
	h.refusals(t, true)
	h.works(t, "the current version", v2)
	for range 2 {
		if err := s.Resume(t.Context(), h.ref("v1")); err != nil {
			t.Fatal(err)
		}
	}
	h.works(t, "the version that came back", v1)
	if err := s.Suspend(t.Context(), h.ref("v2")); err == nil || h.Target.Capabilities().Suspends && !errors.Is(err, target.ErrCurrent) {
		t.Errorf("suspend the current version: %v", err)
	}
	h.works(t, "the current version", v2)
}

// refusals fails the test unless the target tells of a refused use of v1, or of none. One
// that cannot tell passes.
func (h *Harness) refusals(t *testing.T, want bool) {
	t.Helper()
	w, ok := h.Target.(target.Watcher)
	if !ok || !h.Target.Capabilities().Suspends {
		return
	}
	got, err := w.Refused(t.Context(), h.ref("v1"), time.Hour)
	if err != nil || (len(got) > 0) != want {
		t.Errorf("refused: %+v, %v; want some: %t", got, err, want)
	}
	if slices.ContainsFunc(got, func(s target.Session) bool { return s.Client == "" || s.Since.IsZero() }) {
		t.Errorf("refused: %+v, want a client and a time of each", got)
	}
	if got, err = w.Refused(t.Context(), h.ref("v1"), 0); err != nil || len(got) > 0 {
		t.Errorf("refused within no time: %+v, %v", got, err)
	}
}

// soaked: what a retirement does with a credential. Its sessions outlive the suspension,
// its account is revoked while it is suspended, and a worker that was paused brings
// nothing back.
func soaked(t *testing.T, h *Harness) {
	s, ok := h.Target.(target.Suspender)
	if suspends := h.Target.Capabilities().Suspends; !ok || !suspends {
		if suspends {
			t.Error("it says that it suspends, and is no Suspender")
		}
		return
	}
	v1 := h.rotate(t, "v1")
	open := h.open(t, v1)
	v2 := h.rotate(t, "v2")
	if err := s.Suspend(t.Context(), h.ref("v1")); err != nil {
		t.Fatal(err)
	}
	if err := open.Use(t.Context()); err != nil {
		t.Errorf("the suspension has ended a session: %v", err)
	}
	if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}); err != nil {
		t.Fatalf("revoke what is suspended: %v", err)
	}
	if err := s.Resume(t.Context(), h.ref("v1")); err != nil {
		t.Fatal(err)
	}
	h.fails(t, "the version that was revoked and resumed late", v1)
	v3 := h.rotate(t, "v3")
	h.works(t, "the version that has the account now", v3)
	for range 2 { // of a worker that was paused
		if err := s.Suspend(t.Context(), h.ref("v1")); err != nil && !errors.Is(err, target.ErrCurrent) {
			t.Errorf("a late suspension: %v", err)
		}
		h.works(t, "the version that has the account now", v3)
	}
	h.works(t, "the version before", v2)
}
