package inspect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// announceAt publishes the current version of a secret, as a worker does.
func announceAt(t *testing.T, s *site, spec secret.Spec) {
	t.Helper()
	m, err := s.mem.Describe(t.Context(), spec.StorePath())
	if err == nil {
		err = s.bus.Publish(t.Context(), rollout.Announcement("/test", time.Now(), spec, m, events.ReasonManual))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestSecretsThatWereListedOnce: the log tells where they were, also under another path,
// and the store whether they are still there. One that another ID has now, one that was
// deleted, and one in a store that is gone are not shown.
func TestSecretsThatWereListedOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: time.Hour}, secret.Spec{ID: "RENAMED", Store: "main", Path: "same", TTL: time.Hour})
	for _, path := range []string{"db", "same", "somewhere/else", "OLD"} {
		s.put(path)
	}
	for _, spec := range []secret.Spec{
		{ID: "DB", Store: "main", Path: "db"},
		{ID: "ELSEWHERE", Store: "main", Path: "somewhere/else"},
		{ID: "OLD", Store: "main"},
		{ID: "BEFORE", Store: "main", Path: "same"},
	} {
		announceAt(t, s, spec)
	}
	announce(t, s, "DELETED", "v1")
	if err := s.bus.Publish(t.Context(), events.Rotated("/test", time.Now(), events.Data{SecretID: "NOWHERE", Store: "gone", VersionID: "v1"})); err != nil {
		t.Fatal(err)
	}
	if all := s.secrets(); len(all) != 2 {
		t.Errorf("without being asked for: %v", paths(all))
	}
	s.in.Once = true
	all := s.secrets()
	if got := strings.Join(paths(all), " "); got != "db same somewhere/else OLD" {
		t.Fatalf("paths %q", got)
	}
	for _, one := range all[2:] {
		if one.Reason != scheduler.ReasonRemoved || one.VersionID == "" || one.Error != "" || !one.RotateAt.IsZero() {
			t.Errorf("%+v", one)
		}
	}
	if _, known := s.in.Catalog.Lookup("ELSEWHERE"); known {
		t.Error("looking has changed the catalog")
	}
	js, err := jetstream.New(s.srv.Connect())
	if err == nil {
		err = js.DeleteStream(t.Context(), s.bus.Names().RotatedStream())
	}
	if err != nil {
		t.Fatal(err)
	}
	all = s.secrets()
	last := all[len(all)-1]
	if p := last.Problems(); last.Store != "" || last.Error == "" || len(p) != 1 || !strings.HasPrefix(p[0].Sentence, "secrets that a configuration listed once cannot be looked for") {
		t.Errorf("without the log: %+v, %+v", last, p)
	}
}

// TestListedOnceKnowsTheCatalog: what it has, in whichever way, is not looked for.
func TestListedOnceKnowsTheCatalog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	announce(t, s, "KEPT", "v1")
	announce(t, s, "FORGOTTEN", "v1")
	s.in.Catalog.Keep(secret.Spec{ID: "KEPT", Store: "main"})
	specs, err := inspect.ListedOnce(t.Context(), s.bus, s.in.Catalog)
	if err != nil || len(specs) != 1 || specs[0].ID != "FORGOTTEN" {
		t.Errorf("%v, %v", specs, err)
	}
	if e, _ := s.in.Catalog.Lookup("KEPT"); e.Origin != catalog.Removed {
		t.Errorf("origin %s", e.Origin)
	}
}

// TestAStoreThatIsDownIsAskedOnce for secrets that were listed once, too.
func TestAStoreThatIsDownIsAskedOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.in.Once = true
	announce(t, s, "FIRST", "v1")
	announce(t, s, "SECOND", "v1")
	calls := 0
	s.mem.Fault = func(string, string) error { calls++; return errDown }
	all := s.secrets()
	if len(all) != 2 || all[0].SecretID != "FIRST" || all[0].Error == "" || all[1].Path != "" || all[1].Error == "" { // the second stands for the store
		t.Errorf("%+v", all)
	}
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
}
