package inspect_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestALostStreamIsUnknownUntilConfirmed: users that serve on may have been lost with
// it. What restores the streams does not say that there were none.
func TestALostStreamIsUnknownUntilConfirmed(t *testing.T) {
	t.Parallel()
	const id = secret.ID("DB")
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	js, err := srv.Connect().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	q := rollout.Question{Spec: secret.Spec{ID: id, Store: "mem", Services: []string{"api"}, Fence: 1}, VersionID: "v1", Unstaged: true}
	answers := func(when string, want rollout.Answer) events.Fleet {
		t.Helper()
		(&site{t: t, bus: b}).report("api", "v1")
		f, err := b.Fleet(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		past := f.At.Add(-time.Minute)
		q.Promoted = past
		if got := q.Safe(rollout.Rollout{RetireAt: past}, f); got.Answer != want {
			t.Errorf("%s: safe to revoke: %s, because %s; want %s", when, got.Answer, got.Because, want)
		}
		return f
	}
	lose := func() {
		t.Helper()
		if err := js.DeleteStream(b.Names().UsesStream()); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the programs do so again at each start
			if err := b.EnsureStreams(t.Context(), events.StreamOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := answers("the first stream", rollout.AnswerYes)
	if !first.Confirmed.Equal(first.Since) {
		t.Errorf("the first stream was made at %s, and that of %s is confirmed", first.Since, first.Confirmed)
	}
	lose()
	lost := answers("the stream was lost", rollout.AnswerUnknown)
	c := events.Confirmation{Since: lost.Since, By: "alice", Reason: "all of api were restarted", At: time.Now()}
	lose()
	if err := b.ConfirmFleet(t.Context(), c); !errors.Is(err, events.ErrConflict) {
		t.Errorf("ConfirmFleet() of a stream that was lost = %v, want a conflict", err)
	}
	c.Since = answers("it was lost again", rollout.AnswerUnknown).Since
	if err := b.ConfirmFleet(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	answers("it is confirmed", rollout.AnswerYes)
	if err := js.DeleteStream(b.Names().RecordStream()); err != nil {
		t.Fatal(err)
	}
	if f := answers("nothing says what was confirmed", rollout.AnswerUnknown); !f.Confirmed.IsZero() {
		t.Errorf("the stream of %s is confirmed by nothing", f.Confirmed)
	}
}
