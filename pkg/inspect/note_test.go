package inspect_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
)

// TestOwnersAreShown: status, plan and explain say what people said of a secret.
func TestOwnersAreShown(t *testing.T) {
	t.Parallel()
	s := inspect.Secret{SecretID: "DB", Owner: "payments", Purpose: "signs orders", Contact: "#payments"}
	page := inspect.Explain(time.Now(), s, events.Announcement{}, nil)
	for name, v := range map[string]any{"status": s, "plan": inspect.NewPlan(time.Now(), time.Hour, []inspect.Secret{s}, nil), "explain": page} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"owner":"payments"`, `"purpose":"signs orders"`, `"contact":"#payments"`} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s has no %s: %s", name, want, text)
			}
		}
	}
	if text := page.String(); !strings.Contains(text, "Owner    payments") {
		t.Errorf("the page does not say who owns the secret:\n%s", text)
	}
}
