package inspect_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

func TestConfiguredSecretsComeBeforeDiscoveredOnes(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "Z", Store: "main", Path: "z", TTL: time.Hour}, secret.Spec{ID: "A", Store: "main", Path: "y", TTL: time.Hour})
	for _, path := range []string{"z", "y"} {
		s.put(path)
	}
	for _, path := range []string{"c", "b"} {
		s.put(path, "managed=true")
	}
	s.put("unmanaged")
	all := s.secrets()
	if got, want := paths(all), []string{"y", "z", "b", "c"}; !slices.Equal(got, want) {
		t.Fatalf("paths %q, want %q", got, want)
	}
	for i, one := range all {
		if one.Discovered != (i > 1) || one.Reason != scheduler.ReasonScheduled || one.RotateAt.IsZero() || one.NeedsAttention() {
			t.Errorf("%s: %+v", one.Path, one)
		}
	}
}

func TestSecretsByTheirIDs(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "LISTED", Store: "main", Path: "listed", TTL: time.Hour})
	s.put("listed")
	s.put("db", "managed=true", "id=DB")
	var err error
	if _, err = s.in.Secrets(t.Context(), "LISTED", "DB"); !errors.Is(err, catalog.ErrUnknownSecret) {
		t.Errorf("before it was announced: %v", err)
	}
	e := events.Discovery("/test", time.Now(), secret.Spec{ID: "DB", Store: "main", Path: "db"})
	if err := s.bus.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got, want := paths(s.secrets("DB", "LISTED")), []string{"db", "listed"}; !slices.Equal(got, want) {
		t.Errorf("paths %q, want %q", got, want)
	}
	s.mem.Delete("db")
	if got := s.secrets("DB")[0]; !strings.Contains(got.Error, "is not there any more") || !got.NeedsAttention() {
		t.Errorf("once it is deleted: %+v", got)
	}
}

// TestTagsThatKeepASecretFromBeingScheduled: the finding says what is wrong, and
// the first of those with one ID has it.
func TestTagsThatKeepASecretFromBeingScheduled(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "LISTED", Store: "main", Path: "listed", TTL: time.Hour})
	s.put("listed", "ttl=7d")
	s.put("1", "managed=true", "id=DB")
	s.put("2", "managed=true", "id=DB")
	s.put("3", "managed=true", "id=DB")
	s.put("4", "managed=true", "ttl=soon")
	s.put("5", "managed=true", "id=LISTED")
	check := func(want ...string) {
		t.Helper()
		var got []string
		for _, one := range s.secrets() {
			line := fmt.Sprint(one.Path, " ", one.Reason)
			for _, f := range one.Findings {
				line += fmt.Sprintf(" %s(%s): %s", f.Severity, f.Code, f)
			}
			if stopped := slices.ContainsFunc(one.Findings, func(f secret.Finding) bool { return f.Severity == secret.SeverityError }); one.NeedsAttention() != stopped || one.RotateAt.IsZero() != stopped {
				t.Errorf("%s: it needs attention: %t, it rotates at %s", line, one.NeedsAttention(), one.RotateAt)
			}
			got = append(got, line)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	}
	const another = "; give this one another with rotator:id"
	listed := `listed scheduled warning(conflict): rotator:ttl: "7d"; the configuration says 1h, and holds`
	wrong := `4 invalid_tags error(invalid_tag): rotator:ttl: "soon" is not a duration`
	taken := "5 collision error(collision): the id LISTED belongs to listed in the store main" + another
	check(listed, "1 scheduled",
		"2 collision error(collision): the id DB belongs to 1 in the store main"+another,
		"3 collision error(collision): the id DB belongs to 1 in the store main"+another, wrong, taken)

	if err := s.bus.Publish(t.Context(), events.Discovery("/test", time.Now(), secret.Spec{ID: "DB", Store: "main", Path: "2"})); err != nil {
		t.Fatal(err)
	}
	check(listed, "1 collision error(collision): the id DB belongs to 2 in the store main"+another, "2 scheduled",
		"3 collision error(collision): the id DB belongs to 2 in the store main"+another, wrong, taken)
}

func TestWhatTheBusSays(t *testing.T) {
	t.Parallel()
	spec := secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: time.Hour, Services: []string{"api", "web"}}
	s := newSite(t, spec)
	v := s.put("db")
	s.report("api", v)
	s.report("web", "older")
	failure := &events.Failure{Step: "verify", Code: events.CodeRejected, Message: "refused"}
	next := events.Event{ID: "retry", Type: events.TypeNearExpiry, Source: "/test", Time: time.Now(), Data: events.Data{
		SecretID: "DB", Store: "main", VersionID: v, Reason: events.ReasonNearExpiry, Retry: events.Retry{Attempt: 2, Failure: failure},
	}}
	if _, err := s.bus.Arm(t.Context(), next, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	got := s.secrets("DB")[0]
	if !got.Armed || got.Reason != scheduler.ReasonRetrying || got.Failure == nil || got.Failure.Message != "refused" {
		t.Errorf("the next try: %+v", got)
	}
	if got.Rollout != events.RolloutRolling || got.Applied != 1 || len(got.Blocking) != 1 || got.Blocking[0].Service != "web" {
		t.Errorf("the rollout: %+v", got)
	}
	if safe := got.SafeToRevoke; safe.Answer != rollout.AnswerNo || !strings.Contains(safe.Because, "web/1 runs_other_version") || safe.Instances[rollout.InstanceLive] != 2 || len(safe.Waiting) != 1 {
		t.Errorf("safe to revoke: %+v", safe)
	}
	s.report("web", v)
	if safe := s.secrets("DB")[0].SafeToRevoke; safe.Answer != rollout.AnswerNo || !strings.Contains(safe.Because, "floor") || safe.Until.Before(time.Now()) {
		t.Errorf("safe to revoke before the floor is over: %+v", safe)
	}

	s.in.Bus = nil
	if got := s.secrets("DB")[0]; got.Armed || got.Reason != scheduler.ReasonScheduled || got.Rollout != "" || got.Blocking != nil || got.SafeToRevoke != nil || got.VersionID != v {
		t.Errorf("without the bus: %+v", got)
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.put("a", "managed=true")
	s.put("b", "managed=true")
	missing, denied := secret.Spec{ID: "MISSING", Store: "main", Path: "missing", TTL: time.Hour}, secret.Spec{ID: "DENIED", Store: "main", Path: "denied", TTL: time.Hour}
	s.mem.Fault = func(_, path string) error {
		if path == "denied" {
			return store.ErrAccessDenied
		}
		return nil
	}
	s.open(truncated{s.mem}, missing, denied)
	all := s.secrets()
	if len(all) != 4 {
		t.Fatalf("%d secrets, want 4: %+v", len(all), all)
	}
	if got := all[0]; got.SecretID != "DENIED" || !strings.Contains(got.Error, "access denied") || !got.NeedsAttention() || !got.MayRotateBefore(time.Time{}) {
		t.Errorf("a secret that may not be read: %+v", got)
	}
	if got := all[1]; got.Reason != scheduler.ReasonNotFound || got.Error != "" || !got.NotAfter.IsZero() || !got.NeedsAttention() {
		t.Errorf("a secret that does not exist: %+v", got)
	}
	if got := all[3]; all[2].Path != "a" || got.Path != "" || got.Store != "main" || !strings.Contains(got.Error, "broken off") || !got.NeedsAttention() {
		t.Errorf("a listing that breaks off: %+v", all[2:])
	}
}

func TestNothingManagedIsAnEmptyList(t *testing.T) {
	t.Parallel()
	if got, err := json.Marshal(newSite(t).secrets()); err != nil || string(got) != "[]" {
		t.Errorf("%s, %v", got, err)
	}
}

// TestJSON: the names are read by scripts, and by callers of the Lambda function.
func TestJSON(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got, err := json.Marshal([]inspect.Secret{
		{SecretID: "DB", Store: "main", Path: "db", Reason: scheduler.ReasonNotFound, Message: "m"},
		{
			SecretID: "DB", Store: "main", Path: "db", Discovered: true, VersionID: "2", CreatedAt: at, NotAfter: at, Pending: "3", Previous: "1", RotateAt: at,
			Reason: scheduler.ReasonRetrying, Message: "m", Failure: &events.Failure{Step: "verify", Code: events.CodeRejected, Message: "f"}, Armed: true,
			Rollout: events.RolloutRolling, Applied: 1, Blocking: []events.Blocker{{Service: "api", Reason: events.BlockOldVersion}}, WaitSeconds: 60, Services: []string{"api"},
			SafeToRevoke: &rollout.SafeToRevoke{Answer: rollout.AnswerNo, Because: "b", Waiting: []events.Blocker{{Service: "api", Reason: events.BlockOldVersion}}, Until: at, Instances: map[rollout.InstanceState]int{rollout.InstanceLive: 2}},
			Findings:     []secret.Finding{{Code: catalog.CodeConflict, Severity: secret.SeverityWarning, Subject: "rotator:ttl", Message: "m"}}, Error: "e",
		},
	})
	const want = `[{"secret_id":"DB","store":"main","path":"db","discovered":false,"reason":"not_found","message":"m","armed":false,"applied":0},` +
		`{"secret_id":"DB","store":"main","path":"db","discovered":true,"version_id":"2","created_at":"2026-01-02T03:04:05Z","not_after":"2026-01-02T03:04:05Z",` +
		`"pending_version_id":"3","previous_version_id":"1","rotate_at":"2026-01-02T03:04:05Z","reason":"retrying","message":"m",` +
		`"failure":{"step":"verify","code":"rejected","message":"f"},"armed":true,"rollout":"rolling","applied":1,` +
		`"blocking":[{"service":"api","reason":"runs_other_version"}],"safe_to_revoke":{"answer":"no","because":"b",` +
		`"waiting":[{"service":"api","reason":"runs_other_version"}],"until":"2026-01-02T03:04:05Z","instances":{"live":2}},"wait_seconds":60,"services":["api"],` +
		`"problems":[{"code":"conflict","severity":"warning","subject":"rotator:ttl","message":"m"}],"error":"e"}]`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}
