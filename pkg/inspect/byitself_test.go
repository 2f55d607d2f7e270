package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
)

// TestWhatEndsByItselfNeedsNoCommand: the problem says when it ends, and names no command
// that takes records away. Beside it, what needs a person comes first.
func TestWhatEndsByItselfNeedsNoCommand(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	silent := events.Blocker{Service: "api", Instance: "n4", Reason: events.BlockSilent, Until: end}
	unread := events.Blocker{Service: "api", Instance: "n5", Reason: events.BlockNotUnderstood, Until: end}
	job := events.Blocker{Service: "nightly", Reason: events.BlockSilent, Until: end}
	consumer := events.Blocker{Service: "cron", Reason: events.BlockUnconfirmed, Until: end}
	cut := events.Blocker{Service: "web", Instance: "n1", Reason: events.BlockSilent}
	for name, tt := range map[string]struct {
		blocking                  []events.Blocker
		sentence, remedy, command string
	}{
		"a fence":              {[]events.Blocker{silent}, "api/n4", "nothing has to be done: api/n4 ends by itself at 2026-01-02T03:04:05Z at the latest; only if", "rotator status DB"},
		"an unreadable report": {[]events.Blocker{unread}, "api/n5", "nothing has to be done: api/n5 ends by itself at 2026-01-02T03:04:05Z at the latest; only if", "rotator status DB"},
		"a run of a job":       {[]events.Blocker{job}, "nightly", "nothing has to be done: nightly ends by itself at 2026-01-02T03:04:05Z at the latest", "rotator status DB"},
		"a consumer":           {[]events.Blocker{consumer}, "cron", "bring cron to the version, then: rotator confirm DB", "rotator confirm DB --consumer cron --version v2"},
		"beside one to forget": {[]events.Blocker{silent, cut}, "web/n1", "restore the connection of web/n1", "rotator forget web/n1 --reason 'HOW YOU KNOW'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := inspect.Secret{SecretID: "DB", Path: "db", VersionID: "v2", Rollout: events.RolloutStalled, Blocking: tt.blocking}
			all := s.Problems()
			if len(all) != 1 {
				t.Fatalf("%d problems", len(all))
			}
			p := all[0]
			if !strings.Contains(p.Sentence, "it waits for "+tt.sentence) && !strings.Contains(p.Sentence, "the consumer "+tt.sentence) {
				t.Errorf("sentence %q", p.Sentence)
			}
			if !strings.HasPrefix(p.Remedy, tt.remedy) || p.Command != tt.command {
				t.Errorf("remedy %q, command %q", p.Remedy, p.Command)
			}
			if tt.sentence == "nightly" && strings.Contains(p.Remedy, "forget") {
				t.Errorf("a job has no instance to forget: %q", p.Remedy)
			}
		})
	}
}
