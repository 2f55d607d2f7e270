package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestProblemsSayWhatToDo: a sentence, since when, and the command.
func TestProblemsSayWhatToDo(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	stalled := func(b ...events.Blocker) inspect.Secret {
		return inspect.Secret{SecretID: "DB", Path: "db", VersionID: "v2", Rollout: events.RolloutStalled, Timeline: &inspect.Timeline{Since: at}, Blocking: b}
	}
	wrong := secret.Finding{Severity: secret.SeverityError, Message: "the id DB belongs to 1", Remedy: "give this one another"}
	for name, tt := range map[string]struct {
		s    inspect.Secret
		want string // sentence | remedy | command
		at   time.Time
	}{
		"it cannot be read":            {inspect.Secret{SecretID: "team a/db", Path: "p", Error: "sealed"}, "it cannot be read: sealed||rotator status 'team a/db'", time.Time{}},
		"a store cannot be listed":     {inspect.Secret{Store: "main", Error: "sealed"}, "the secrets of the store main cannot be listed: sealed||rotator status", time.Time{}},
		"it has expired":               {inspect.Secret{SecretID: "DB", Reason: scheduler.ReasonExpired, Message: "the version ended 1h ago", NotAfter: at}, "its version has expired and is not replaced: the version ended 1h ago||rotator rotate DB", at},
		"every value was refused":      {inspect.Secret{SecretID: "DB", Reason: scheduler.ReasonQuarantined, Failure: &events.Failure{Step: "apply", Message: "refused"}}, "its rotation is held: the step apply failed: refused|correct the target, then rotate|rotator rotate DB", time.Time{}},
		"it was deleted":               {inspect.Secret{SecretID: "DB", Reason: scheduler.ReasonDeleted, Message: "it was deleted"}, "it was deleted|restore it in its store, or write a version|rotator versions DB", time.Time{}},
		"a silent instance":            {stalled(events.Blocker{Service: "api", Instance: "n4", Reason: events.BlockSilent}), "its rollout has stalled: it waits for api/n4: it has not renewed its presence and may run another version (silent)|restore the connection of api/n4, or, if its process is gone: rotator forget api/n4 --reason TEXT|rotator forget api/n4 --reason 'HOW YOU KNOW'", at},
		"two blockers":                 {stalled(events.Blocker{Service: "api", Instance: "n4", Reason: events.BlockOldVersion}, events.Blocker{}), "its rollout has stalled: it waits for api/n4: it has taken no version into use yet (runs_other_version), and 1 more|check the connection of api to NATS and its log, or restart it|rotator status DB", at},
		"a consumer to confirm":        {stalled(events.Blocker{Service: "cron", Reason: events.BlockUnconfirmed, Detail: "d"}), "its rollout has stalled: it waits for the consumer cron (not_confirmed): d|bring cron to the version, then: rotator confirm DB --consumer cron --version v2|rotator confirm DB --consumer cron --version v2", at},
		"an error in the tags":         {inspect.Secret{Path: "2", Reason: scheduler.ReasonCollision, Findings: []secret.Finding{wrong}}, "the id DB belongs to 1|give this one another|rotator plan", time.Time{}},
		"nothing; it is tried again":   {inspect.Secret{SecretID: "DB", Reason: scheduler.ReasonRetrying, Failure: &events.Failure{}}, "", time.Time{}},
		"nothing; a warning is no act": {inspect.Secret{SecretID: "DB", Findings: []secret.Finding{{Severity: secret.SeverityWarning}}}, "", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, p := range tt.s.Problems() {
				got = append(got, p.Sentence+"|"+p.Remedy+"|"+p.Command)
				if !p.Since.Equal(tt.at) {
					t.Errorf("since %s, want %s", p.Since, tt.at)
				}
			}
			if strings.Join(got, "\n") != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestWhatNeedsAttentionHasAProblem: the page says of each secret that status fails
// for what to do.
func TestWhatNeedsAttentionHasAProblem(t *testing.T) {
	t.Parallel()
	for _, s := range []inspect.Secret{
		{Reason: scheduler.ReasonExpired},
		{Reason: scheduler.ReasonNotFound},
		{Reason: scheduler.ReasonDeleted},
		{Reason: scheduler.ReasonInvalid, Findings: []secret.Finding{{Severity: secret.SeverityError}}},
		{Error: "e"},
		{Rollout: events.RolloutStalled},
	} {
		if !s.NeedsAttention() || len(s.Problems()) == 0 {
			t.Errorf("%+v: %d problems", s, len(s.Problems()))
		}
	}
}

// TestWithoutAStoreTheBusSays: the notifier shows what was announced.
func TestWithoutAStoreTheBusSays(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: time.Hour, Services: []string{"api"}})
	s.in.Announced, s.in.Stores = true, nil
	if got := s.secrets(); len(got) != 1 || got[0].NeedsAttention() || got[0].Message != "no version has been announced yet" {
		t.Fatalf("before the first announcement: %+v", got)
	}
	now := time.Now()
	d := events.Data{SecretID: "DB", Store: "main", VersionID: "v2", PreviousVersionID: "v1", NotAfter: now.Add(time.Hour)}
	if err := s.bus.Publish(t.Context(), events.Rotated("/test", now, d)); err != nil {
		t.Fatal(err)
	}
	s.report("api", "v1")
	got := s.secrets()[0]
	if got.VersionID != "v2" || got.Previous != "v1" || got.Error != "" || len(got.Blocking) != 1 || got.SafeToRevoke == nil {
		t.Errorf("while it rolls out: %+v", got)
	}
	if got.Timeline == nil || got.Timeline.AnnouncedAt.IsZero() || !got.Timeline.ConvergedAt.IsZero() {
		t.Errorf("timeline %+v", got.Timeline)
	}
}
