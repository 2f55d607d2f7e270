package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestWhatIsConfirmedIsPartOfTheAnswer, and so is the effective wait.
func TestWhatIsConfirmedIsPartOfTheAnswer(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: 24 * time.Hour, Proof: secret.Proof{Consumers: []secret.Consumer{{Name: "erp"}}}})
	v := s.put("db")
	got := s.secrets("DB")[0]
	if safe := got.SafeToRevoke; safe.Answer != rollout.AnswerNo || !strings.Contains(safe.Because, "rotator confirm DB --consumer erp --version "+string(v)) {
		t.Errorf("safe to revoke: %+v", safe)
	}
	if want := 3600 + 36; got.WaitSeconds != want {
		t.Errorf("the wait is %d s, want %d: the floor", got.WaitSeconds, want)
	}
	if err := s.bus.RecordConfirmed(t.Context(), events.Confirmed{SecretID: "DB", Consumer: "erp", VersionID: v, By: "/test", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if got := s.secrets("DB")[0]; len(got.Blocking) > 0 || strings.Contains(got.SafeToRevoke.Because, "erp") {
		t.Errorf("once it is confirmed: %+v, blocked by %v", got.SafeToRevoke, got.Blocking)
	}
	s.in.Bus = nil
	if got := s.secrets("DB")[0]; got.WaitSeconds != 3636 {
		t.Errorf("without a bus the wait is %d s", got.WaitSeconds)
	}
}

// TestAForeignWriterMakesAYesUnknown: the log says that another program wrote the
// current version, or that another key signs events about the secret.
func TestAForeignWriterMakesAYesUnknown(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		why     events.Reason
		foreign func(*site, events.Event) error
		answer  rollout.Answer
		because string
	}{
		"ours":                          {events.ReasonNearExpiry, nil, rollout.AnswerYes, "no instance uses"},
		"a writer that is none of ours": {events.ReasonExternal, nil, rollout.AnswerUnknown, "another program wrote version"},
		"a timer under another key": {events.ReasonNearExpiry, func(s *site, e events.Event) error {
			key, err := events.GenerateSigner()
			if err == nil {
				_, err = s.srv.Bus(key, key).Arm(s.t.Context(), e, time.Now().Add(time.Hour))
			}
			return err
		}, rollout.AnswerUnknown, "another scheduler works on the secret"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: time.Hour, Proof: secret.Proof{NoSubscribers: secret.NoSubscribersRetire, Consumers: []secret.Consumer{{Name: "erp"}}}})
			v, now := s.put("db"), time.Now()
			rotated := events.Rotated("/test", now, events.Data{SecretID: "DB", Store: "main", VersionID: v, PreviousVersionID: "before", Reason: tt.why})
			retired := rollout.Begin(rotated.Data)
			retired.State, retired.Since = events.RolloutRetired, now
			err := s.bus.RecordConfirmed(t.Context(), events.Confirmed{SecretID: "DB", Consumer: "erp", VersionID: v, By: "/test", At: now})
			for _, e := range []events.Event{rotated, retired.Event("/test", rollout.Facts{})} {
				if err == nil {
					err = s.bus.Publish(t.Context(), e)
				}
			}
			if err == nil && tt.foreign != nil {
				near := rotated
				near.Type, near.ID = events.TypeNearExpiry, "near"
				err = tt.foreign(s, near)
			}
			if err != nil {
				t.Fatal(err)
			}
			if safe := s.secrets("DB")[0].SafeToRevoke; safe == nil || safe.Answer != tt.answer || !strings.Contains(safe.Because, tt.because) {
				t.Errorf("safe to revoke: %+v, want %s because %q", safe, tt.answer, tt.because)
			}
		})
	}
}
