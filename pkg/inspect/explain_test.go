package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestExplain: the page names the cause with the person, who is waited for, what becomes
// of the version before, and a command for each thing that holds the rollout up.
func TestExplain(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	s := inspect.Secret{
		SecretID: "DB", Store: "main", VersionID: "2", Previous: "1", Reason: scheduler.ReasonScheduled, Message: "in 3d", RotateAt: now.Add(72 * time.Hour),
		Rollout: events.RolloutStalled, RolloutSince: now.Add(-time.Minute), Applied: 1, Spec: secret.Spec{ID: "DB"},
		Blocking: []events.Blocker{
			{Service: "api", Instance: "one", VersionID: "1", Reason: events.BlockFailed, Detail: "exit status 3"},
			{Service: "web", Instance: "two", VersionID: "1", Reason: events.BlockSilent},
			{Service: "erp", Reason: events.BlockUnconfirmed, Detail: "confirm it"},
		},
		SafeToRevoke: &rollout.SafeToRevoke{Answer: rollout.AnswerNo, Because: "3 block"},
	}
	last := events.Announcement{At: now.Add(-time.Hour), Event: events.Event{Data: events.Data{SecretID: "DB", VersionID: "2", PreviousVersionID: "1", Reason: events.ReasonManual}}}
	acts := []events.Act{{Kind: events.ActRotate, VersionID: "1", By: "alice", Reason: "a laptop was stolen", Ticket: "INC-1", At: now.Add(-61 * time.Minute)}}
	got := inspect.Explain(now, s, last, acts).String()
	for _, want := range []string{
		"version 2 is current in the store main since 2026-11-30T11:00:00Z (1h ago), because a person asked for it; alice: rotate of version 1, because a laptop was stolen (INC-1)",
		"stalled since 2026-11-30T11:59:00Z (1m); 1 of 4 run version 2; the deadline of 15m has passed",
		"api/one: it could not apply the version: exit status 3 (failed)", "web/two: it has not renewed its presence and may run version 1 (silent)",
		"version 1 is kept until every instance runs the new one; safe to revoke: no, because 3 block",
		"scheduled at 2026-12-03T12:00:00Z: in 3d",
		"rotator rollback DB --reason TEXT", "rotator forget web/two --reason TEXT", "rotator confirm DB --consumer erp --version 2",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page does not say %q:\n%s", want, got)
		}
	}
	if !s.NeedsAttention() {
		t.Error("a stalled rollout needs no attention")
	}
	for _, r := range events.BlockReasons() {
		s.Blocking = []events.Blocker{{Service: "api", Reason: r}}
		if do := inspect.Explain(now, s, last, nil).Do; len(do) != 1 || strings.Contains(do[0], "docs/runbook") || strings.Contains(do[0], "%") {
			t.Errorf("%s: do %q", r, do)
		}
	}
}

// TestHistoryIsInOrder, whatever it comes from.
func TestHistoryIsInOrder(t *testing.T) {
	t.Parallel()
	at := func(n int) time.Time { return time.Date(2026, 11, 30, 12, n, 0, 0, time.UTC) }
	m := secret.Metadata{Versions: []secret.Version{{ID: "2", Stage: secret.StageCurrent, CreatedAt: at(2)}, {ID: "1", CreatedAt: at(0)}}}
	log := []inspect.LogEntry{{At: at(3), Type: events.TypeRotated, Data: events.Data{SecretID: "DB", VersionID: "2", PreviousVersionID: "1", Reason: events.ReasonManual}}}
	acts := []events.Act{{Kind: events.ActRotate, VersionID: "1", By: "alice", At: at(1)}}
	receipts := []events.Receipt{{SecretID: "DB", VersionID: "2", Retired: []secret.VersionID{"1"}, DecidedAt: at(4)}}
	var got []string
	for _, p := range inspect.History(m, log, receipts, acts) {
		got = append(got, strings.Fields(p.String())[1])
	}
	if want := "version act version rotated receipt"; strings.Join(got, " ") != want {
		t.Errorf("the order is %q, want %s", got, want)
	}
}
