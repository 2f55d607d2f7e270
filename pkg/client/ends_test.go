package client_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
)

// TestAnAnnouncedEndReachesTheService: a worker knows the end that a tag gives a
// version. It counts for what the service shows and warns of, whether the announcement
// comes before the version or after it.
func TestAnAnnouncedEndReachesTheService(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.write(key, "first-value")
	r.write(token, "first-token")
	var log waittest.Buffer
	m := r.manager(func(c *client.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	if end := m.Secret(key).Get().NotAfter; !end.IsZero() {
		t.Fatalf("a version without an end ends at %s", end)
	}
	announce := func(d events.Data) {
		d.SecretID, d.Store, d.Reason = key, "mem", events.ReasonExternal
		r.seq++
		if err := r.bus.Notify(t.Context(), "api", events.Rotated("/test", time.Now(), d), r.seq); err != nil {
			t.Fatal(err)
		}
	}
	soon := time.Now().Add(time.Minute).UTC().Truncate(time.Second)
	announce(events.Data{VersionID: first, NotAfter: soon})
	r.eventually("the version in use has the announced end", func() bool { return m.Secret(key).Get().NotAfter.Equal(soon) })
	r.eventually("its near end is warned of", func() bool {
		return strings.Contains(log.String(), "level=WARN msg=secret.near_expiry") && strings.Contains(log.String(), "version_id="+string(first))
	})
	if got := m.Secret(key).Get(); value(got) != "first-value" || got.Version.ID != first {
		t.Errorf("the announcement of an end left version %q", got.Version.ID)
	}
	later := soon.Add(time.Hour)
	second := r.write(key, "second-value")
	announce(events.Data{VersionID: second, NotAfter: later})
	r.eventually("the new version has its own end", func() bool {
		got := m.Secret(key).Get()
		return got.Version.ID == second && got.NotAfter.Equal(later)
	})
}
