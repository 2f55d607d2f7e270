package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestWhatAServiceLearnsByGuessing holds SECURITY.md to its word. A publication may name
// any subject of the same stream in a header, and the refusal has the last sequence
// there; no permission covers that. So a service that guesses the ID of a secret, or the
// name of a service, learns whether the guess is right and when the record changed last.
// It learns no name, no content, and nothing of another stream.
func TestWhatAServiceLearnsByGuessing(t *testing.T) { //nolint:paralleltest // it sets the environment
	a := startAccounts(t)
	s := &site{t: t, log: slog.New(slog.DiscardHandler), master: make([]byte, 32)}
	s.keys, s.signer, s.trusted = newKeys(t)
	inside := a.connect("WORKER")
	bus := s.bus(inside, "WORKER")
	if err := bus.EnsureStreams(t.Context(), s.streams); err != nil {
		t.Fatal(err)
	}
	other := s.tenant(t, a.connect("ADMIN_API"))
	u := events.Use{
		Running: events.Running{SecretID: accountSecret, VersionID: "v1", Status: events.StatusApplied},
		Service: "admin-api", Instance: "one", Incarnation: "one-1", PastFence: events.PastFenceRefuse,
	}
	if err := other.WriteUse(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Join(t.Context(), events.Presence{Service: "admin-api", Instance: "one", Incarnation: "one-1", Lease: 600}); err != nil {
		t.Fatal(err)
	}
	f, err := bus.Fleet(t.Context(), accountSecret)
	if err != nil || len(f.Users) != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	if err := bus.Publish(t.Context(), events.Event{ID: "1", Type: events.TypeRotated, Source: "/test", Time: time.Now(), Data: events.Data{SecretID: accountSecret, Store: "embedded", VersionID: "v1", OccurredAt: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	key, names := string(accountSecret.Key()), bus.Names()
	nc := a.connect("AUDIT_API")
	for guess, c := range map[string]struct {
		subject string
		right   bool
	}{
		"a service that uses the secret":                {names.Use(accountSecret.Key(), "admin-api", "*"), true},
		"any other service that uses it":                {names.Use(accountSecret.Key(), "*", "*"), true},
		"a service by its name":                         {names.Presence("admin-api", "*", "*"), true},
		"a service that uses anything":                  {"uses.*.admin-api.*", true},
		"another secret":                                {names.Use(secret.ID("ANOTHER").Key(), "*", "*"), false},
		"another service":                               {names.Use(accountSecret.Key(), "web", "*"), false},
		"the beginning of an ID":                        {"uses." + key[:len(key)-1] + "*.*.*", false},
		"the beginning of a name":                       {"report.admin*.*.*", false},
		"what was announced, in another stream":         {names.Event(events.TypeRotated, accountSecret.Key()), false},
		"what another service was told, in yet another": {"notify.admin-api.*", false},
		"the acts of people":                            {"record.>", false},
	} {
		t.Run(guess, func(t *testing.T) {
			if seq := a.guess(t, nc, "uses."+key+".audit-api.own", c.subject); (seq > 0) != c.right {
				t.Errorf("the last sequence of %s is %d, want that it is known: %t", c.subject, seq, c.right)
			}
		})
	}
	if after, err := bus.Fleet(t.Context(), accountSecret); err != nil || len(after.Users) != 1 {
		t.Errorf("guesses left records: %+v, %v", after.Users, err)
	}
}

// guess returns the last sequence of a subject as the refusal of a publication has it,
// and fails if the refusal says anything else.
func (a *accounts) guess(t *testing.T, nc *nats.Conn, own, subject string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m := &nats.Msg{Subject: own, Data: []byte("{}"), Header: nats.Header{"Nats-Expected-Last-Subject-Sequence": {"999999999"}, "Nats-Expected-Last-Subject-Sequence-Subject": {subject}}}
	answer, err := nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Error *struct {
			Description string
		} `json:"error"`
	}
	if err := json.Unmarshal(answer.Data, &said); err != nil || said.Error == nil {
		t.Fatalf("the answer is %s", answer.Data)
	}
	return sequenceIn(t, said.Error.Description)
}

// sequenceIn returns the number in a refusal.
func sequenceIn(t *testing.T, text string) (seq uint64) {
	t.Helper()
	if _, err := fmt.Sscanf(text, "wrong last sequence: %d", &seq); err != nil {
		t.Fatalf("the refusal says %q", text)
	}
	return seq
}
