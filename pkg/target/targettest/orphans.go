package targettest

import (
	"slices"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// orphans: a credential is listed as that of a version that is known as long as it works,
// and as that of none once its version is forgotten. One that was revoked is not listed.
func orphans(t *testing.T, h *Harness) {
	if _, ok := h.Target.(target.Lister); !ok {
		return
	}
	h.rotate(t, "v1")
	h.listed(t, []secret.VersionID{"v1"}, "v1")
	h.propose(t, "v2")
	h.apply(t, "v2")
	both := []secret.VersionID{"v1", "v2"}
	if h.Target.Capabilities().Overlap == target.OverlapNone {
		h.listed(t, both, "v2")
		return
	}
	h.listed(t, both, both...)
	h.listed(t, []secret.VersionID{"v1"}, "v1", Unknown) // as after v2 was withdrawn
	h.Versions.Promote("v2")
	if err := h.Target.Revoke(t.Context(), h.ref("v1"), target.Drain{}); err != nil {
		t.Fatal(err)
	}
	h.listed(t, both, "v2")
}

// Unknown stands for a version that is not known.
const Unknown secret.VersionID = "unknown"

// listed fails the test unless the target lists the credentials of exactly the given
// versions, each of this secret, given those that are known.
func (h *Harness) listed(t *testing.T, known []secret.VersionID, want ...secret.VersionID) {
	t.Helper()
	l, _ := h.Target.(target.Lister)
	found, err := l.List(t.Context(), known)
	if err != nil {
		t.Fatal(err)
	}
	var got []secret.VersionID
	for _, c := range found {
		v := c.Version
		if !slices.Contains(known, v) {
			v = Unknown
		}
		if c.Secret != "" && c.Secret != h.Spec.ID || c.Name == "" && c.Version == "" {
			t.Errorf("List() has %+v, want one of secret %s with a name or a version", c, h.Spec.ID)
		}
		got = append(got, v)
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("given versions %v, List() has those of %v, want %v: %+v", known, got, want, found)
	}
}
