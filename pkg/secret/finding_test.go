package secret_test

import (
	"encoding/json"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

func TestFinding(t *testing.T) {
	t.Parallel()
	whole := secret.Finding{Code: "ttl", Severity: secret.SeverityWarning, Subject: "orders/db", Message: "too short", Remedy: "make it longer"}
	for name, c := range map[string]struct {
		finding      secret.Finding
		text, asJSON string
	}{
		"a finding with all of its fields": {
			whole, "orders/db: too short; make it longer",
			`{"code":"ttl","severity":"warning","subject":"orders/db","message":"too short","remedy":"make it longer"}`,
		},
		"a finding about what its context names, with the remedy in the message": {
			secret.Finding{Code: "ttl", Severity: secret.SeverityError, Message: "too short"}, "too short",
			`{"code":"ttl","severity":"error","message":"too short"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.finding.String(); got != c.text {
				t.Errorf("text %q, want %q", got, c.text)
			}
			if got, err := json.Marshal(c.finding); err != nil || string(got) != c.asJSON {
				t.Errorf("JSON %s, %v; want %s", got, err, c.asJSON)
			}
		})
	}
}
