package events_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestForgetLeavesWhatCameLater(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	join(t, b, "one", "a", "b")
	join(t, b, "two", "a")
	upTo := fleet(t, b, "a").Seq
	if err := b.WriteUse(t.Context(), use("one", "b", "v2")); err != nil {
		t.Fatal(err)
	}
	if err := b.Forget(t.Context(), "api", "one", "one-1", []secret.ID{"a", "b"}, upTo); err != nil {
		t.Fatal(err)
	}
	if got, want := users(t, b, "a"), []string{"api/two/two-1 v1"}; !slices.Equal(got, want) {
		t.Errorf("users of a: %v, want %v", got, want)
	}
	if got, want := users(t, b, "b"), []string{"api/one/one-1 v2 (no presence of the incarnation is stored)"}; !slices.Equal(got, want) {
		t.Errorf("users of b: %v, want %v", got, want)
	}
}

// TestForgetLeavesTheUsesOfAnInstanceThatRenews: it is confirmed by each renewal, so
// its uses have to be on record.
func TestForgetLeavesTheUsesOfAnInstanceThatRenews(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	seq := join(t, b, "one", "a")
	upTo := fleet(t, b, "a").Seq
	if _, err := b.Renew(t.Context(), presence("one"), seq); err != nil {
		t.Fatal(err)
	}
	if err := b.Forget(t.Context(), "api", "one", "one-1", []secret.ID{"a"}, upTo); !errors.Is(err, events.ErrConflict) {
		t.Errorf("Forget() = %v, want a conflict", err)
	}
	if got, want := users(t, b, "a"), []string{"api/one/one-1 v1"}; !slices.Equal(got, want) {
		t.Errorf("users of a: %v, want %v", got, want)
	}
}

// TestInstanceHasEveryIncarnation: also one that uses nothing, one without a
// presence, and one of which a record is not understood.
func TestInstanceHasEveryIncarnation(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	join(t, b, "one", "a", "b")
	join(t, b, "two", "a")
	idle := presence("one")
	idle.Incarnation = "idle"
	if _, err := b.Join(t.Context(), idle); err != nil {
		t.Fatal(err)
	}
	absent := use("one", "a", "v3")
	absent.Incarnation = "absent"
	if err := b.WriteUse(t.Context(), absent); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Connect().Request(b.Names().Use("c", "api", "one-1"), []byte("{"), time.Minute); err != nil {
		t.Fatal(err)
	}
	for incarnation, want := range map[string][]string{
		"": {
			"absent a v3 no presence of the incarnation is stored", "idle   ", "one-1 a v1 ", "one-1 b v1 ", "one-1 c  rejected: malformed: the use does not decode",
		},
		"absent": {"absent a v3 no presence of the incarnation is stored"},
		"one-1":  {"one-1 a v1 ", "one-1 b v1 ", "one-1 c  rejected: malformed: the use does not decode"},
		"none":   nil,
	} {
		f, err := b.Instance(t.Context(), "api", "one", incarnation)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, u := range f.Users {
			if u.Use.Service != "api" || u.Use.Instance != "one" {
				t.Errorf("%+v is of another instance", u)
			}
			got = append(got, fmt.Sprint(u.Use.Incarnation, " ", u.Use.SecretID, " ", u.Use.VersionID, " ", u.Problem))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", incarnation, got, want)
		}
	}
	if _, err := b.Instance(t.Context(), "api", "one", "two-1"); err == nil || !strings.Contains(err.Error(), "is of instance two") {
		t.Errorf("Instance() of the incarnation of another = %v", err)
	}
}

func TestWhatIsForgottenIsRecorded(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	for reason, ok := range map[string]bool{"the host burnt down": true, "": false} {
		f := events.Forgotten{Service: "api", Instance: "one", Incarnation: "one-1", By: "alice", Reason: reason, At: time.Now(), Used: []events.Use{use("one", id, "v1")}}
		if err := b.RecordForgotten(t.Context(), f); (err == nil) != ok {
			t.Errorf("reason %q: %v", reason, err)
		}
	}
	js, err := srv.Connect().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	m, err := js.GetLastMsg(b.Names().RecordStream(), "record.forgotten.api.one")
	if err != nil || !strings.Contains(string(m.Data), `"by":"alice"`) || !strings.Contains(string(m.Data), `"version_id":"v1"`) {
		t.Errorf("the record is %v, %v", m, err)
	}
	if err := js.DeleteMsg(b.Names().RecordStream(), m.Sequence); err == nil {
		t.Error("the record can be deleted")
	}
	if err := js.PurgeStream(b.Names().RecordStream()); err == nil {
		t.Error("the records can be purged")
	}
}
