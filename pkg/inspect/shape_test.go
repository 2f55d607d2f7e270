package inspect_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestAPlanSaysWhichRotationIsRefused for listed and discovered secrets.
func TestAPlanSaysWhichRotationIsRefused(t *testing.T) {
	t.Parallel()
	field := &secret.Policy{Field: "/password"}
	s := newSite(t, secret.Spec{ID: "LISTED", Store: "main", Path: "listed", TTL: time.Hour}, secret.Spec{ID: "FIELD", Store: "main", Path: "field", TTL: time.Hour, Policy: field})
	s.in.Shapes = true
	for _, path := range []string{"listed", "field", "discovered"} {
		from := s.put(path, "managed=true")
		v, err := s.mem.Put(t.Context(), path, store.Write{Token: secret.NewToken("", from, "doc", 0), From: from, Value: secret.NewValue([]byte(`{"user":"app","password":"x"}`))})
		if err == nil {
			err = s.mem.Promote(t.Context(), path, from, v.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.put("text", "managed=true")
	for _, one := range s.secrets() {
		has := slices.ContainsFunc(one.Findings, func(f secret.Finding) bool { return f.Code == inspect.CodeShape && f.Severity == secret.SeverityError })
		if want := one.Path == "listed" || one.Path == "discovered"; has != want {
			t.Errorf("%s: findings %v", one.Path, one.Findings)
		}
	}
}
