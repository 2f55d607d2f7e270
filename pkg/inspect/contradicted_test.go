package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAContradictedProofIsAFinding, until another version is current.
func TestAContradictedProofIsAFinding(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: time.Hour})
	v := s.put("db")
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		of   secret.VersionID
		c    events.Contradiction
		want string // "" for no finding
	}{
		{v, events.Contradiction{Kind: events.ContradictionRetiredUsed, Client: "192.0.2.7", Uses: 3, Last: at}, "client 192.0.2.7 used version v0 after it was retired, and was refused by api/1 (3 times, last at 2026-03-01T12:00:00Z)"},
		{v, events.Contradiction{Kind: events.ContradictionJoinedLate, StartedAt: at}, "version v0 was retired before api/1 joined, which had started at 2026-03-01T12:00:00Z"},
		{"other", events.Contradiction{Kind: events.ContradictionRetiredUsed, Client: "192.0.2.7", Uses: 9, Last: at}, ""},
	} {
		tt.c.Service, tt.c.Instance, tt.c.Incarnation = "api", "1", "x"
		e := events.Event{ID: string(tt.c.Kind) + string(tt.of), Type: events.TypeProofContradicted, Source: "/test", Time: at, Data: events.Data{
			SecretID: "DB", VersionID: tt.of, PreviousVersionID: "v0", OccurredAt: at, Contradiction: &tt.c,
		}}
		if err := s.bus.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		found := s.secrets("DB")[0].Findings
		switch {
		case tt.want == "" && len(found) > 0:
			t.Errorf("of another version: %v", found)
		case tt.want != "" && (len(found) != 1 || found[0].Code != inspect.CodeContradicted || !strings.Contains(found[0].Message, tt.want)):
			t.Errorf("%s: %+v, want %q", tt.c.Kind, found, tt.want)
		}
	}
}
