package targettest

import (
	"slices"
	"testing"

	"github.com/tradepulse/rotator/pkg/target"
)

func sessions(t *testing.T, h *Harness) {
	in, ok := h.Target.(target.Inspector)
	if !ok || h.Target.Capabilities().InUse != target.InUseSessions {
		return
	}
	v1 := h.rotate(t, "v1")
	old := h.open(t, v1)
	h.rotate(t, "v2")
	h.seen(t, in, old)
	if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}); err != nil {
		t.Fatal(err)
	}
	if err := old.Use(t.Context()); err != nil {
		t.Errorf("a revocation that ends no session has ended one: %v", err)
	}
	h.seen(t, in, old)
	v2, _ := h.Versions.Read(t.Context(), "v2")
	young := h.open(t, v2)
	if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{Terminate: true}); err != nil {
		t.Fatal(err)
	}
	if err := old.Use(t.Context()); err == nil {
		t.Error("the session of the revoked version is open still")
	}
	if err := young.Use(t.Context()); err != nil {
		t.Errorf("the session of the current version has ended: %v", err)
	}
	h.seen(t, in)
}

// ended: the credential stays valid, and sessions of the current one stay open.
func ended(t *testing.T, h *Harness) {
	e, ok := h.Target.(target.Ender)
	if !ok || h.Target.Capabilities().InUse != target.InUseSessions {
		return
	}
	in, _ := h.Target.(target.Inspector)
	v1 := h.rotate(t, "v1")
	idle, busy := h.open(t, v1), h.open(t, v1)
	if err := busy.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	young := h.open(t, h.rotate(t, "v2"))
	for range 2 {
		if err := e.End(t.Context(), h.ref("v1"), true); err != nil {
			t.Fatal(err)
		}
		h.seen(t, in, busy)
	}
	if err := idle.Use(t.Context()); err == nil {
		t.Error("an idle session is open still")
	}
	if err := e.End(t.Context(), h.ref("v1"), false); err != nil {
		t.Fatal(err)
	}
	h.seen(t, in)
	if err := young.Use(t.Context()); err != nil {
		t.Errorf("the session of the current version has ended: %v", err)
	}
	if h.Target.Capabilities().Overlap != target.OverlapNone {
		h.works(t, "the version whose sessions were ended", v1)
	}
}

// seen fails the test unless the sessions of version v1 are exactly the given ones.
func (h *Harness) seen(t *testing.T, in target.Inspector, open ...Session) {
	t.Helper()
	u, err := in.InUse(t.Context(), h.ref("v1"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, s := range u.Sessions {
		got = append(got, s.Client)
		if s.Since.IsZero() {
			t.Errorf("the session of %s has no age", s.Client)
		}
	}
	for _, s := range open {
		want = append(want, s.Address())
	}
	if !slices.Equal(got, want) {
		t.Errorf("sessions of v1: %v, want %v", got, want)
	}
}
