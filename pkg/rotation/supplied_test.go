package rotation_test

import (
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAValueThatWasWithdrawnIsNotReplaced: a person supplied the value, and it is not
// pending any more. A value of the worker's own would be promoted as if the person had
// asked for it.
func TestAValueThatWasWithdrawnIsNotReplaced(t *testing.T) {
	t.Parallel()
	x := newRig(t, nil)
	token := secret.NewToken("ID", x.v1, "a person", 0)
	out, err := x.r.Rotate(t.Context(), rotation.Try{Request: rotation.Request{Secret: "ID", From: x.v1, Reason: events.ReasonSupplied, Token: token}})
	if !events.IsPermanent(err) || out != "" {
		t.Errorf("%q, %v, want a permanent error", out, err)
	}
	m, err := x.st.Describe(t.Context(), "ID")
	if _, pending := m.At(secret.StagePending); err != nil || pending || m.Current().ID != x.v1 || len(x.probe.calls) > 0 {
		t.Errorf("the worker made a value of its own: %+v, %v, calls of the target %v", m.Versions, err, x.probe.calls)
	}
	failed, err := x.bus.Last(t.Context(), events.TypeRotationFailed, "ID")
	if f := failed.Event.Data.Failure; err != nil || f == nil || f.Code != events.CodeWithdrawn {
		t.Errorf("announced %+v, %v, want %s", f, err, events.CodeWithdrawn)
	}
}
