package events_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// TestATrustedKeyHasRoles reads keys as configurations name them.
func TestATrustedKeyHasRoles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	signer, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.key", "worker=b.key"} {
		if err := signer.Save(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	file, odd := filepath.Join(dir, "a.key.pub"), filepath.Join(dir, "worker=b.key.pub")
	for text, want := range map[string][]events.Role{
		file:                       nil,
		odd:                        nil,
		"notifier=" + file:         {events.RoleNotifier},
		"worker,scheduler=" + odd:  {events.RoleWorker, events.RoleScheduler},
		"operator,lambda=" + file:  {events.RoleOperator, events.RoleLambda},
		"worker,notifier=" + file:  {events.RoleWorker, events.RoleNotifier},
		"scheduler=" + file:        {events.RoleScheduler},
		"lambda=" + odd:            {events.RoleLambda},
		"operator,worker=" + file:  {events.RoleOperator, events.RoleWorker},
		"notifier,notifier=" + odd: {events.RoleNotifier, events.RoleNotifier},
	} {
		k, err := events.LoadTrustedKey(text)
		if err != nil || !k.Key.Equal(signer.Public()) || !slices.Equal(k.Roles, want) || (k.Roles == nil) != (want == nil) {
			t.Errorf("%s: roles %v, err %v; want %v", text, k.Roles, err, want)
		}
	}
	for text, want := range map[string]string{
		"root=" + file:             `there is no role "root"; the roles are scheduler, worker, notifier, operator, lambda`,
		"worker,=" + file:          `there is no role ""`,
		"worker=" + dir + "/x.pub": "no such file",
	} {
		if _, err := events.LoadTrustedKey(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestArmedOrdersEnd: an order ends some time after it is due.
func TestArmedOrdersEnd(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	at := time.Now().Add(30 * 24 * time.Hour).UTC().Truncate(time.Second)
	e := events.Event{ID: "1", Type: events.TypeNearExpiry, Source: "/test", Time: time.Now(), Data: events.Data{SecretID: "ID", VersionID: "v1"}}
	if _, err := b.Arm(t.Context(), e, at); err != nil {
		t.Fatal(err)
	}
	got, err := b.Timer(t.Context(), events.TypeNearExpiry, "ID")
	if err != nil || !got.Event.Data.ValidUntil.Equal(at.Add(events.OrderLife)) {
		t.Errorf("the order is valid until %s, %v; want %s", got.Event.Data.ValidUntil, err, at.Add(events.OrderLife))
	}
}
