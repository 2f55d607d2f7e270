package view

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// rolling is a secret that one instance does not run yet.
func rolling() inspect.Secret {
	return inspect.Secret{
		SecretID: "orders/db", Store: "main", VersionID: "22222222-x", Previous: "11111111-x", Reason: scheduler.ReasonScheduled,
		Rollout: events.RolloutRolling, RolloutSince: noon.Add(-time.Minute), Applied: 1,
		Blocking: []events.Blocker{{Service: "api", Instance: "one", VersionID: "11111111-x", Reason: events.BlockFailed, Detail: "exit status 3"}},
		Spec:     secret.Spec{ID: "orders/db"},
	}
}

// TestWatchPrintsWhatChanges: elsewhere than on a terminal a secret is printed again
// only when it has changed, and a terminal is drawn anew with ages.
func TestWatchPrintsWhatChanges(t *testing.T) {
	t.Parallel()
	show := func(w *Watch, out *strings.Builder, s inspect.Secret, now time.Time) string {
		t.Helper()
		out.Reset()
		if err := w.Show([]inspect.Secret{s}, now); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	var out strings.Builder
	w, s := NewWatch(&out, false), rolling()
	const want = "2026-11-30T12:00:00Z  orders/db  22222222  ○ rolling since 2026-11-30T11:59:00Z  1 of 2 run it  scheduled\n" +
		"2026-11-30T12:00:00Z  ├─ api/one: it could not apply the version: exit status 3 (failed)\n" +
		"2026-11-30T12:00:00Z  └─ version 11111111 is kept until every instance runs the new one\n"
	if got := show(w, &out, s, noon); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := show(w, &out, s, noon.Add(time.Minute)); got != "" {
		t.Errorf("nothing has changed, and it prints\n%s", got)
	}
	s.Rollout, s.Applied, s.Blocking, s.RetireAt = events.RolloutConverged, 2, nil, noon.Add(time.Hour)
	if got := show(w, &out, s, noon.Add(time.Minute)); !strings.Contains(got, "◑ converged") || !strings.Contains(got, "└─ version 11111111 dies at 2026-11-30T13:00:00Z") {
		t.Errorf("it has converged, and it prints\n%s", got)
	}
	if got := show(NewWatch(&out, true), &out, s, noon); !strings.HasPrefix(got, redraw) || !strings.Contains(got, "converged 1m ") {
		t.Errorf("a terminal shows\n%q", got)
	}
}

// TestStatusPrintsAnErrorOnce, however many secrets have it, and what the bus knows.
func TestStatusPrintsAnErrorOnce(t *testing.T) {
	t.Parallel()
	down, other := rolling(), rolling()
	down.Error, other.Error = "store main: it is down", "store main: it is down"
	other.SecretID, other.VersionID = "orders/x", ""
	var out strings.Builder
	if err := Status(&out, []inspect.Secret{down, other}, noon); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	if strings.Count(got, "it is down") != 1 || !strings.Contains(got, "error 1 (2 secrets): store main: it is down") {
		t.Errorf("the error is not there once:\n%s", got)
	}
	for _, want := range []string{
		"orders/db is rolling since 2026-11-30T11:59:00Z (1m); 1 of 2 run version 22222222; it stalls 15m after it began",
		"orders/db: version 11111111 is kept until every instance runs the new one",
		"orders/db waits for api/one: it could not apply the version: exit status 3 (failed)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("status does not say %q:\n%s", want, got)
		}
	}
}

// TestPlanNamesThePartsOfTheTime.
func TestPlanNamesThePartsOfTheTime(t *testing.T) {
	t.Parallel()
	n := 2
	p := inspect.Plan{MadeAt: noon, Secrets: []inspect.Planned{{
		SecretID: "orders/db", Store: "main", Action: inspect.ActionRotate, Reason: scheduler.ReasonScheduled, At: noon.Add(time.Hour), Instances: &n,
		Services: []string{"api"}, Wait: 3600, Floor: 3600, Grace: 300,
		Due: &inspect.Due{Life: 30 * 24 * 3600, Margin: 300, Jitter: 61 * 3600, Window: 7200, Windows: []string{"0 3 * * *"}},
	}}, Drift: []secret.Finding{{Code: inspect.CodeNoTimer, Subject: "orders/db", Message: "no timer is set", Remedy: "wait"}}}
	var out strings.Builder
	if err := Plan(&out, p, false); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, want := range []string{"(30d life − 5m margin − 2d13h jitter − 2h to the window, window 0 3 * * *)", " api ", " 1h floor\n", "\nDrift: 1", "orders/db  no_timer  no timer is set; wait"} {
		if !strings.Contains(got, want) {
			t.Errorf("plan does not say %q:\n%s", want, got)
		}
	}
}
