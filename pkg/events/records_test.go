package events_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// recordsNotUnderstood are bodies of a use of "a" by api/one-1, and what is said
// of them.
var recordsNotUnderstood = map[string]string{
	``: "does not decode", `{`: "does not decode", `[]`: "does not decode", `{"fence_seconds":"long"}`: "does not decode",
	`{}`: "malformed",
	`{"secret_id":"a","service":"api","instance":"one","incarnation":"one-1","version_id":" "}`:                                                     "malformed",
	`{"secret_id":"a","service":"api","instance":"one","incarnation":"one-1","version_id":"v1","fence_seconds":-1}`:                                 "malformed",
	`{"secret_id":"a","service":"api","instance":"one","incarnation":"one-1","version_id":"v1","accepts":[""]}`:                                     "malformed",
	`{"secret_id":"a","service":"api","instance":"one","incarnation":"one-1","version_id":"v1","reason":"` + strings.Repeat("x", 3000) + `"}`:       "malformed",
	`{"secret_id":"a","service":"api","instance":"one","incarnation":"one-1","version_id":"v1","accepts":["v0"` + strings.Repeat(`,"v"`, 20) + `]}`: "malformed",
	`{"secret_id":"b","service":"api","instance":"one","incarnation":"one-1","version_id":"v1"}`:                                                    "subject",
	`{"secret_id":"a","service":"web","instance":"one","incarnation":"one-1","version_id":"v1"}`:                                                    "subject",
	`{"secret_id":"a","service":"api","instance":"one","incarnation":"two-1","version_id":"v1"}`:                                                    "subject",
}

// TestAUseThatIsNotUnderstoodIsAUser: it stays under the names that its subject
// has, and may run any version.
func TestAUseThatIsNotUnderstoodIsAUser(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	nc := srv.Connect()
	join(t, b, "one", "a")
	for body, problem := range recordsNotUnderstood {
		if _, err := nc.Request(b.Names().Use("a", "api", "one-1"), []byte(body), time.Minute); err != nil {
			t.Fatal(err)
		}
		f := fleet(t, b, "a")
		if len(f.Users) != 1 {
			t.Fatalf("%.80s: %d users, want one", body, len(f.Users))
		}
		u := f.Users[0]
		if !strings.Contains(u.Problem, problem) || u.Use.SecretID != "a" || u.Use.Service != "api" || u.Use.Incarnation != "one-1" ||
			u.Use.VersionID != "" || u.Use.Accepts != nil || u.Use.PastFence != events.PastFenceServe || u.UsedAt.IsZero() {
			t.Errorf("%.80s: %+v, want a user with a problem like %q", body, u, problem)
		}
	}
}

// TestAPresenceThatIsNotUnderstoodIsNoEnd: not even if it says that it has ended.
func TestAPresenceThatIsNotUnderstoodIsNoEnd(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	nc := srv.Connect()
	join(t, b, "one", id)
	for _, body := range []string{
		``, `{"ended":true`, `{"ended":true}`, `{"service":"api","instance":"one","incarnation":"one-1","lease_seconds":0,"ended":true}`,
		`{"service":"api","instance":"one","incarnation":"one-1","lease_seconds":30,"process":{"pid":0},"ended":true}`,
		`{"service":"api","instance":"one","incarnation":"two-1","lease_seconds":30,"ended":true}`,
	} {
		if _, err := nc.Request(b.Names().Presence("api", "one", "one-1"), []byte(body), time.Minute); err != nil {
			t.Fatal(err)
		}
		f := fleet(t, b, id)
		if len(f.Users) != 1 || f.Users[0].Problem == "" || f.Users[0].Presence.Ended || f.Users[0].Presence.Instance != "one" || f.Users[0].RenewedAt.IsZero() {
			t.Errorf("%s: %+v, want one user with a problem", body, f.Users)
		}
	}
}

func TestWhatALaterClientAddsIsUnderstood(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	join(t, b, "one", "a")
	body := `{"secret_id":"a","service":"api","instance":"one","incarnation":"one-1","version_id":"v1","status":"activating","past_fence":"ask","new":1}`
	if _, err := srv.Connect().Request(b.Names().Use("a", "api", "one-1"), []byte(body), time.Minute); err != nil {
		t.Fatal(err)
	}
	u := fleet(t, b, "a").Users[0]
	if u.Problem != "" || u.Use.Status.Known() || u.Use.PastFence != events.PastFenceServe || u.Use.Accepts != nil {
		t.Errorf("%+v, want a user that serves and accepts any version", u)
	}
}

// TestReportsLoseRollupInAnUpgrade: the stream that an earlier release made let
// every service remove the reports of all others by a header.
func TestReportsLoseRollupInAnUpgrade(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	nc := srv.Connect()
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	earlier := &nats.StreamConfig{
		Name: "REPORTS", Subjects: []string{"report.*.*"}, MaxMsgsPerSubject: 1, AllowMsgTTL: true, SubjectDeleteMarkerTTL: time.Minute, AllowDirect: true, AllowRollup: true,
	}
	if _, err := js.AddStream(earlier); err != nil {
		t.Fatal(err)
	}
	b := srv.NewBus(events.StreamOptions{})
	reportFleet(t, b, 3, 0)
	m := nats.NewMsg(b.Names().Report("other", "one"))
	m.Header.Set("Nats-Rollup", "all")
	if _, err := nc.RequestMsg(m, time.Minute); err != nil {
		t.Fatal(err)
	}
	whole(t, b, 3)
}

// TestNoHeaderRemovesARecord, of those that remove messages elsewhere.
func TestNoHeaderRemovesARecord(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	nc := srv.Connect()
	join(t, b, "one", id)
	for header, value := range map[string]string{"Nats-Rollup": "all", "Nats-TTL": "1s"} {
		m := nats.NewMsg(b.Names().Use(id.Key(), "web", "two"))
		m.Header.Set(header, value)
		answer, err := nc.RequestMsg(m, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(answer.Data), "error") {
			t.Errorf("%s: %s is accepted: %s", header, value, answer.Data)
		}
	}
	if got := users(t, b, id); len(got) != 1 {
		t.Errorf("users %v, want one", got)
	}
}
