package events_test

import (
	"context"
	"slices"
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestReadLog: every event that is asked for, the oldest first, and what comes later
// only when it follows.
func TestReadLog(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	publish := func(id secret.ID, v secret.VersionID) {
		t.Helper()
		e := event(events.TypeRotated, v)
		e.ID, e.Data.SecretID = string(id)+string(v), id
		if err := b.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	read := func(q events.LogQuery) (out []secret.VersionID) {
		t.Helper()
		err := b.ReadLog(t.Context(), q, func(a events.Announcement) error {
			out = append(out, a.Event.Data.VersionID)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := read(events.LogQuery{}); got != nil {
		t.Errorf("an empty log has %q", got)
	}
	publish("A", "1")
	publish("B", "2")
	publish("A", "3")
	for _, c := range []struct {
		q    events.LogQuery
		want []secret.VersionID
	}{
		{events.LogQuery{}, []secret.VersionID{"1", "2", "3"}},
		{events.LogQuery{IDs: []secret.ID{"A"}}, []secret.VersionID{"1", "3"}},
		{events.LogQuery{IDs: []secret.ID{"A", "B"}, Types: []events.Type{events.TypeRotated}}, []secret.VersionID{"1", "2", "3"}},
		{events.LogQuery{Types: []events.Type{events.TypeRollout}}, nil},
	} {
		if got := read(c.q); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.q, got, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []secret.VersionID
	err := b.ReadLog(ctx, events.LogQuery{IDs: []secret.ID{"B"}, Follow: true}, func(a events.Announcement) error {
		if got = append(got, a.Event.Data.VersionID); len(got) == 1 {
			publish("B", "4")
			return nil
		}
		cancel()
		return nil
	})
	if want := []secret.VersionID{"2", "4"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("followed %q, %v, want %q", got, err, want)
	}
}
