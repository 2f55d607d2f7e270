package catalog_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestWhatAStoreCannotKeepIsFound for configured and discovered secrets, and keeps
// neither from being rotated.
func TestWhatAStoreCannotKeepIsFound(t *testing.T) {
	t.Parallel()
	c, err := catalog.New(catalog.Config{
		Specs:       []secret.Spec{{ID: "LISTED", Store: "main", Path: "listed", TTL: time.Hour, Retire: secret.RetireKeep}},
		Discoveries: []*catalog.Discovery{discovery()},
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]secret.FindingCode{"listed": secret.CodeKeep, "apps/db": secret.CodeOneVersion} {
		m := tagged(nil)
		if m.Path, m.MaxVersions = path, 2; want == secret.CodeOneVersion {
			m.MaxVersions = 1
		}
		m.Versions[0].CreatedAt = time.Now()
		e, managed := c.Resolve("main", m)
		found := func(f secret.Finding) bool { return f.Code == want && f.Severity == secret.SeverityWarning }
		if !managed || !slices.ContainsFunc(e.Findings, found) || e.Refused() || e.Err() != nil {
			t.Errorf("%s: findings %v, err %v; want %s", path, e.Findings, e.Err(), want)
		}
	}
}
