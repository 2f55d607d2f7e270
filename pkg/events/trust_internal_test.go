package events

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// trustVector is a case for other implementations of who is believed about what.
type trustVector struct {
	Name      string            `json:"name"`
	Prefix    string            `json:"prefix"`
	Subject   string            `json:"subject"` // on which it is received
	PublicKey string            `json:"public_key"`
	Roles     []Role            `json:"roles"` // of the key, null for all
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`
	Reason    string            `json:"reason"` // of the rejection, empty for none
}

func prefixed(t *testing.T, prefix string) Names {
	t.Helper()
	n, err := NewNames(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// previous returns the message of e as the version before audiences publishes it.
func (b *Bus) previous(t *testing.T, subject string, e Event) *nats.Msg {
	t.Helper()
	m, err := b.encode(subject, e)
	if err != nil {
		t.Fatal(err)
	}
	if m.Data, err = json.Marshal(e.Data); err != nil {
		t.Fatal(err)
	}
	m.Header.Set(headerSignature, b.cfg.Signer.use().sign(canonical(attributes(m.Header), m.Data)))
	return m
}

// TestTrustVectors holds a file that implementations in other languages are tested
// with: for whom an event is, and what the key of each program may sign.
func TestTrustVectors(t *testing.T) {
	e := examples()[TypeRotated]
	key := e.Data.SecretID.Key()
	log := func(n Names) string { return n.Event(TypeRotated, key) }
	to := func(service string) func(Names) string {
		return func(n Names) string { return n.Notify(service, key) }
	}
	heard := func(n Names) string { return n.Live("audit", key) }
	var vectors []trustVector
	for _, c := range []struct {
		name      string
		from      string // prefix of the bus that it was published on
		published func(Names) string
		received  func(Names) string
		roles     []Role
		previous  bool
		reason    string
	}{
		{"the notifier notifies", "prod", to("audit"), heard, []Role{RoleNotifier}, false, ""},
		{"a key in every role notifies", "prod", to("audit"), heard, nil, false, ""},
		{"a worker that is a notifier, too, notifies", "prod", to("audit"), heard, []Role{RoleWorker, RoleNotifier}, false, ""},
		{"a worker notifies", "prod", to("audit"), heard, []Role{RoleWorker}, false, rejectUntrusted},
		{"a key without a role notifies", "prod", to("audit"), heard, []Role{}, false, rejectUntrusted},
		{"a worker announces", "prod", log, log, []Role{RoleWorker}, false, ""},
		{"the notifier announces", "prod", log, log, []Role{RoleNotifier}, false, rejectUntrusted},
		{"a notification of another service", "prod", to("billing"), heard, nil, false, rejectAudience},
		{"a notification on another bus", "dev", to("audit"), heard, nil, false, rejectAudience},
		{"a notification on a bus without a prefix", "", to("audit"), heard, nil, false, rejectAudience},
		{"an announcement repeated as a notification", "prod", log, heard, nil, false, rejectAudience},
		{"a notification repeated as an announcement", "prod", to("audit"), log, nil, false, rejectAudience},
		{"a notification of the previous version", "prod", to("audit"), heard, []Role{RoleNotifier}, true, ""},
		{"a notification of the previous version by a worker", "prod", to("audit"), heard, []Role{RoleWorker}, true, rejectUntrusted},
	} {
		b := fixedBus(t)
		b.cfg.Names = prefixed(t, c.from)
		m, err := b.encode(c.published(b.cfg.Names), e)
		if err != nil {
			t.Fatal(err)
		}
		if c.previous {
			m = b.previous(t, c.published(b.cfg.Names), e)
		}
		b.cfg.Names = prefixed(t, "prod")
		b.cfg.Verifier = NewRoleVerifier(TrustedKey{b.cfg.Signer.Public(), c.roles})
		v := trustVector{
			Name: c.name, Prefix: "prod", Subject: c.received(b.cfg.Names), PublicKey: hex.EncodeToString(b.cfg.Signer.Public()), Roles: c.roles,
			Headers: map[string]string{}, Body: string(m.Data), Reason: c.reason,
		}
		for k := range m.Header {
			v.Headers[k] = m.Header.Get(k)
		}
		vectors = append(vectors, v)
		_, err = b.decode(v.Subject, m.Header, m.Data)
		if r, _ := errors.AsType[rejection](err); r.reason != c.reason {
			t.Errorf("%s: %v, want the reason %q", c.name, err, c.reason)
		}
	}
	text, err := json.MarshalIndent(vectors, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "trust.json", append(text, '\n'))
}

// TestEveryTypeHasARole: what no role signs is never believed where roles are used.
func TestEveryTypeHasARole(t *testing.T) {
	t.Parallel()
	may := map[Type]bool{}
	for _, r := range Roles() {
		for _, kind := range r.Types() {
			may[kind] = true
		}
	}
	if got, want := slices.Sorted(maps.Keys(may)), slices.Sorted(maps.Keys(examples())); !slices.Equal(got, want) {
		t.Errorf("the roles sign %v, want %v", got, want)
	}
	if RoleNotifier.may(TypeNearExpiry, false) || RoleWorker.may(TypeDiscovered, false) || RoleLambda.may(TypeRetire, false) || Role("root").may(TypeSweep, false) {
		t.Error("a key signs what another program does")
	}
}

// TestAnOrderExpires, also one of the previous version, which names no end.
func TestAnOrderExpires(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		kind       Type
		at, until  time.Time
		wantPassed bool
	}{
		"an order in time":                        {TypeNearExpiry, now.AddDate(0, -1, 0), now.Add(time.Second), false},
		"an order after its end":                  {TypeNearExpiry, now.AddDate(0, -1, 0), now.Add(-time.Second), true},
		"an order to retire after its end":        {TypeRetire, now, now.Add(-time.Second), true},
		"an order of the previous version":        {TypeNearExpiry, now.Add(-OrderLife), time.Time{}, false},
		"an old order of the previous version":    {TypeNearExpiry, now.Add(-OrderLife - 1), time.Time{}, true},
		"an announcement, which is true for ever": {TypeRotated, now.AddDate(-1, 0, 0), time.Time{}, false},
	} {
		e := Event{Type: c.kind, Time: c.at, Data: Data{ValidUntil: c.until}}
		if got := e.Expired(now); got != c.wantPassed {
			t.Errorf("%s: expired %t", name, got)
		}
	}
}

// TestTheSignatureCoversTheAudienceAndTheEnd: both are in the body.
func TestTheSignatureCoversTheAudienceAndTheEnd(t *testing.T) {
	t.Parallel()
	b := fixedBus(t)
	e := examples()[TypeNearExpiry].validUntil(time.Now())
	subject := b.cfg.Names.Event(e.Type, e.Data.SecretID.Key())
	for _, part := range []string{`"audience":{"bus":""}`, `"valid_until":"20`} {
		m, err := b.encode(subject, e)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(m.Data), part) {
			t.Fatalf("the body has no %s: %s", part, m.Data)
		}
		m.Data = []byte(strings.Replace(string(m.Data), part, strings.Replace(part, `":`, `" :`, 1), 1))
		if _, err := b.decode(subject, m.Header, m.Data); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s has changed: %v", part, err)
		}
	}
}
