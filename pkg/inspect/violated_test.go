package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestStatusShowsAVersionThatBreaksItsPolicy until another one is current.
func TestStatusShowsAVersionThatBreaksItsPolicy(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "KEY", Store: "main", Path: "key", TTL: time.Hour})
	v := s.put("key")
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: "KEY", Store: "main", VersionID: v, Reason: events.ReasonExternal, Violations: []string{"digit", "upper"}})
	if _, err := s.bus.PublishAfter(t.Context(), e, 0); err != nil {
		t.Fatal(err)
	}
	findings := s.secrets("KEY")[0].Findings
	if len(findings) != 1 || findings[0].Code != inspect.CodePolicy || !strings.Contains(findings[0].Message, "digit, upper") || findings[0].Remedy == "" {
		t.Errorf("findings %+v", findings)
	}
	next, err := s.mem.Put(t.Context(), "key", store.Write{Token: secret.NewToken("KEY", v, "next", 0), From: v, Value: secret.NewValue([]byte("Strong-Value-For-Tests-1"))})
	if err == nil {
		err = s.mem.Promote(t.Context(), "key", v, next.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	if findings := s.secrets("KEY")[0].Findings; len(findings) != 0 {
		t.Errorf("of the next version: %+v", findings)
	}
}

// TestStatusSaysThatAVersionWasNotChecked: one that could not be read is not one that
// satisfies the policy.
func TestStatusSaysThatAVersionWasNotChecked(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "KEY", Store: "main", Path: "key", TTL: time.Hour})
	v := s.put("key")
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: "KEY", Store: "main", VersionID: v, Reason: events.ReasonExternal, Unchecked: true})
	if _, err := s.bus.PublishAfter(t.Context(), e, 0); err != nil {
		t.Fatal(err)
	}
	findings := s.secrets("KEY")[0].Findings
	if len(findings) != 1 || findings[0].Code != inspect.CodeUnchecked || findings[0].Severity != secret.SeverityWarning || !strings.Contains(findings[0].Message, "unchecked") {
		t.Errorf("findings %+v", findings)
	}
}
