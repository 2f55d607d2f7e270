package inspect_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestPlanSaysWhatHappensAndWhy: from the stores alone the plan has every time and what
// it is made of; what only the bus knows is absent, not zero.
func TestPlanSaysWhatHappensAndWhy(t *testing.T) {
	t.Parallel()
	s := newSite(t,
		secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: 30 * 24 * time.Hour, RefreshMargin: time.Hour, Services: []string{"api"}},
		secret.Spec{ID: "NEW", Store: "main", Path: "new", TTL: time.Hour, Create: true},
		secret.Spec{ID: "OLD", Store: "main", Path: "old", TTL: time.Hour})
	v := s.put("db")
	s.report("api", v)
	now := time.Now()
	p := inspect.NewPlan(now, 24*time.Hour, s.secrets(), nil)
	db := p.Secrets[0]
	if db.Action != inspect.ActionRotate || db.Reason != scheduler.ReasonScheduled || db.From != v || db.Instances == nil || *db.Instances != 1 || db.At.Location() != time.UTC {
		t.Errorf("a secret with a version: %+v", db)
	}
	d := db.Due
	if d == nil || d.Life != 30*24*3600 || d.Margin != 3600 || d.Jitter <= 0 || d.Jitter > d.Life/10 {
		t.Fatalf("why then: %+v", d)
	}
	if at := d.End.Add(-time.Duration(d.Margin+d.Jitter+d.Window) * time.Second); at.Sub(db.At).Abs() > 2*time.Second {
		t.Errorf("the parts give %s, the plan says %s", at, db.At)
	}
	if got := p.Secrets[1]; got.Action != inspect.ActionCreate || got.Due != nil || got.From != "" {
		t.Errorf("a secret without a version: %+v", got)
	}
	if got := p.Secrets[2]; got.Action != inspect.ActionNone || got.Reason != scheduler.ReasonNotFound || !got.At.IsZero() {
		t.Errorf("a secret that may not be created: %+v", got)
	}
	if soon := p.Soon(); len(soon) != 1 || soon[0].SecretID != "NEW" {
		t.Errorf("within a day: %+v", soon)
	}
	codes := func(p inspect.Plan) (out []secret.FindingCode) {
		for _, f := range p.Drift {
			out = append(out, f.Code)
		}
		return out
	}
	if got, want := codes(p), []secret.FindingCode{inspect.CodeNoTimer, inspect.CodeNotAnnounced}; !slices.Equal(got, want) {
		t.Errorf("drift %q, want %q", got, want)
	}

	s.in.Bus = nil
	p = inspect.NewPlan(now, time.Hour, s.secrets("DB"), errors.New("no servers"))
	text, err := json.Marshal(p)
	if err != nil || p.Secrets[0].Instances != nil || len(p.Drift) != 0 || !strings.Contains(string(text), `"bus_not_reached":"no servers"`) || strings.Contains(string(text), "instances") || strings.Contains(string(text), "message") {
		t.Errorf("without the bus: %s, %v", text, err)
	}
}

// TestAStoreThatDoesNotAnswerIsAskedOnce, and what the bus says is shown all the same.
func TestAStoreThatDoesNotAnswerIsAskedOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: time.Hour, Services: []string{"api"}}, secret.Spec{ID: "X", Store: "main", Path: "x", TTL: time.Hour})
	v := s.put("db")
	s.report("api", v)
	announce(t, s, "DB", v)
	calls := 0
	s.mem.Fault = func(string, string) error { calls++; return errDown }
	all := s.secrets("DB", "X")
	if calls != 1 || all[0].Error != all[1].Error || !strings.Contains(all[0].Error, "unavailable") {
		t.Errorf("%d calls; %+v", calls, all)
	}
	if got := all[0]; got.VersionID != v || got.Applied != 1 || got.Rollout == "" || got.RolloutSince.IsZero() || !got.NeedsAttention() {
		t.Errorf("what the bus says: %+v", got)
	}
}

// TestADeadlineThatOutlivesTheVersionIsSaid: also one that the spec inherits, for a
// secret whose lifetime only the store or a tag gives.
func TestADeadlineThatOutlivesTheVersionIsSaid(t *testing.T) {
	t.Parallel()
	s := newSite(t,
		secret.Spec{ID: "INHERITED", Store: "main", Path: "inherited", TTL: 20 * time.Minute},
		secret.Spec{ID: "LONGER", Store: "main", Path: "longer", TTL: 21 * time.Minute},
		secret.Spec{ID: "NONE", Store: "main", Path: "none", TTL: 20 * time.Minute, Deadline: -1},
		secret.Spec{ID: "SET", Store: "main", Path: "set", TTL: time.Hour, RefreshMargin: time.Minute, Deadline: 2 * time.Hour},
		secret.Spec{ID: "WITHOUT", Store: "main", Path: "without"})
	for _, path := range []string{"inherited", "longer", "none", "set", "without"} {
		s.put(path)
	}
	got := map[string]string{}
	for _, f := range inspect.NewPlan(time.Now(), time.Hour, s.secrets(), nil).Drift {
		if f.Code == inspect.CodeDeadline {
			got[f.Subject] = f.Message
		}
	}
	want := map[string]string{
		"INHERITED": "a version is replaced 15m after it was made, before the deadline 15m of its rollout",
		"SET":       "a version is replaced 59m after it was made, before the deadline 2h of its rollout",
	}
	if !maps.Equal(got, want) {
		t.Errorf("the plan says %q, want %q", got, want)
	}
}
