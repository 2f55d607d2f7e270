package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestALoginAtTheTarget: a refusal needs a person, an unknown is a warning and never an
// error, and what was found of a version before says nothing.
func TestALoginAtTheTarget(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: time.Hour})
	v := s.put("db")
	var seq uint64
	for _, tt := range []struct {
		of    secret.VersionID
		state events.VerifiedState
		code  secret.FindingCode // "" for no finding
		needs bool
	}{
		{v, events.VerifiedWorks, "", false},
		{v, events.VerifiedRefused, inspect.CodeTargetRefuses, true},
		{v, events.VerifiedUnknown, inspect.CodeTargetUnknown, false},
		{"other", events.VerifiedRefused, "", false},
	} {
		at := time.Now()
		e := events.Event{ID: string(tt.of) + string(tt.state), Type: events.TypeVerified, Source: "/test", Time: at, Data: events.Data{
			SecretID: "DB", VersionID: tt.of, OccurredAt: at, Verification: &events.Verification{State: tt.state, Since: at, Message: "at db:5432"},
		}}
		var err error
		if seq, err = s.bus.PublishAfter(t.Context(), e, seq); err != nil {
			t.Fatal(err)
		}
		got := s.secrets("DB")[0]
		var found []secret.Finding
		for _, f := range got.Findings {
			if strings.HasPrefix(string(f.Code), "target_") {
				found = append(found, f)
			}
		}
		switch {
		case tt.code == "" && len(found) > 0, tt.code != "" && (len(found) != 1 || found[0].Code != tt.code || !strings.Contains(found[0].Message, "at db:5432")):
			t.Errorf("%s: findings %+v, want %q", tt.state, found, tt.code)
		case got.NeedsAttention() != tt.needs || (len(got.Problems()) > 0) != tt.needs:
			t.Errorf("%s: needs attention: %t, problems %+v", tt.state, got.NeedsAttention(), got.Problems())
		}
	}
}
