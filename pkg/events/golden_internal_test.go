package events

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file under testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is another: what is on the bus has changed, see it with -update\ngot:\n%s", path, got)
	}
}

// fixedBus signs with a key that everybody knows.
func fixedBus(t *testing.T) *Bus {
	t.Helper()
	signer, err := NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return &Bus{cfg: Config{Signer: signer, Verifier: NewVerifier(signer.Public()), MaxEventSize: defaultMaxEventSize}}
}

func examples() map[Type]Event {
	at := time.Date(2026, 1, 31, 2, 0, 0, 0, time.UTC)
	data := Data{
		SecretID: "TRADEPULSE_AUDIT_SECRET_ID", Store: "main", VersionID: "v2", PreviousVersionID: "v1", Reason: ReasonNearExpiry,
		OccurredAt: at, NotAfter: at.AddDate(0, 0, 30), RotationID: "b95d1402-5c0e-8d4b-9f5d-0c1f0b1f9a77",
	}
	rollout := data
	rollout.Rollout = &Rollout{
		State: RolloutStalled, StartedAt: at, Applied: 2, BlockingTotal: 1,
		Blocking: []Blocker{{Service: "audit", Instance: "pod-7", VersionID: "v1", Reason: BlockOldVersion}},
	}
	retire := data
	retire.Rollout = &Rollout{State: RolloutConverged, StartedAt: at, ConvergedAt: at.Add(time.Second), RetireAt: at.Add(5 * time.Minute), Applied: 3}
	failed := data
	failed.VersionID, failed.PreviousVersionID = "v1", ""
	failed.Attempt, failed.Failure = 4, &Failure{Step: "put", Code: "access_denied", Message: "store main: put: access denied"}
	near := Data{SecretID: data.SecretID, Store: "main", VersionID: "v1", Reason: ReasonNearExpiry, OccurredAt: at, NotAfter: at.Add(5 * time.Minute)}
	found := Data{SecretID: data.SecretID, Store: "main", OccurredAt: at, Discovered: &Discovered{
		Path: "tradepulse/audit-signing-key", Services: []string{"audit"}, GraceMS: 300_000, DeadlineMS: 900_000,
	}}
	contradicted := Data{SecretID: data.SecretID, Store: "main", VersionID: "v2", PreviousVersionID: "v1", OccurredAt: at, Contradiction: &Contradiction{
		Kind: ContradictionRetiredUsed, Service: "audit", Instance: "pod-7", Incarnation: "k3jq", Client: "192.0.2.7", Uses: 3, Last: at,
	}}
	verified := Data{SecretID: data.SecretID, Store: "main", VersionID: "v2", OccurredAt: at, Verification: &Verification{
		State: VerifiedRefused, Since: at, Message: "log in at db:5432 as \"app\": login refused",
	}}
	out := map[Type]Event{}
	for kind, d := range map[Type]Data{
		TypeNearExpiry: near, TypeStaged: data, TypeRotated: data, TypeRotationFailed: failed, TypeRollout: rollout,
		TypeDiscovered: found, TypeProofContradicted: contradicted, TypeVerified: verified, TypeRetire: retire, TypeSweep: {},
	} {
		out[kind] = Event{ID: "5f6b1e2a-0000-8000-8000-000000000000", Type: kind, Source: "/rotator/worker/host-1", Time: at, Data: d}
	}
	return out
}

// TestGoldenEvents holds what is on the bus: a program of an earlier version
// reads it.
func TestGoldenEvents(t *testing.T) {
	b := fixedBus(t)
	for kind, e := range examples() {
		subject := b.cfg.Names.Event(kind, e.Data.SecretID.Key())
		m, err := b.encode(subject, e)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		var out bytes.Buffer
		fmt.Fprintln(&out, m.Subject)
		for _, k := range slices.Sorted(maps.Keys(m.Header)) {
			fmt.Fprintf(&out, "%s: %s\n", k, m.Header.Get(k))
		}
		fmt.Fprintln(&out)
		if err := json.Indent(&out, m.Data, "", "  "); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out)
		golden(t, "events/"+string(kind)+".txt", out.Bytes())
		back, err := b.decode(subject, m.Header, m.Data)
		if err != nil || back.Data.VersionID != e.Data.VersionID {
			t.Errorf("%s does not come back: %v", kind, err)
		}
	}
	if !TypeSweep.known() || len(examples()) != 10 {
		t.Error("an example of each type is missing")
	}
}

// vector is a case for other implementations of the signature.
type vector struct {
	Name      string            `json:"name"`
	PublicKey string            `json:"public_key"` // hexadecimal
	Headers   map[string]string `json:"headers"`
	Body      string            `json:"body"`
	Canonical string            `json:"canonical"` // hexadecimal, what is signed
	Valid     bool              `json:"valid"`
}

// TestSignatureVectors holds a file that implementations in other languages
// are tested with.
func TestSignatureVectors(t *testing.T) {
	b := fixedBus(t)
	e := examples()[TypeRotated]
	subject := b.cfg.Names.Event(TypeRotated, e.Data.SecretID.Key())
	var vectors []vector
	for _, c := range []struct {
		name   string
		change func(*nats.Msg)
		valid  bool
	}{
		{"genuine", func(*nats.Msg) {}, true},
		{"the body has changed", func(m *nats.Msg) { m.Data = bytes.Replace(m.Data, []byte("v2"), []byte("v3"), 1) }, false},
		{"the id has changed", func(m *nats.Msg) { m.Header.Set(headerID, "another") }, false},
		{"the subject has changed", func(m *nats.Msg) { m.Header.Set(headerSubject, "another") }, false},
		{"bytes have moved between attributes", func(m *nats.Msg) {
			m.Header.Set(headerSource, e.Source+"x")
			m.Header.Set(headerType, string(e.Type)[1:])
		}, false},
		{"the signature is padded", func(m *nats.Msg) { m.Header.Set(headerSignature, m.Header.Get(headerSignature)+"==") }, false},
		{"there is no signature", func(m *nats.Msg) { m.Header.Del(headerSignature) }, false},
		{"the key is another", func(m *nats.Msg) { m.Header.Set(headerKeyID, "0000000000000000") }, false},
	} {
		m, err := b.encode(subject, e)
		if err != nil {
			t.Fatal(err)
		}
		c.change(m)
		v := vector{
			Name: c.name, PublicKey: hex.EncodeToString(b.cfg.Signer.Public()), Headers: map[string]string{}, Body: string(m.Data),
			Canonical: hex.EncodeToString(canonical(attributes(m.Header), m.Data)), Valid: c.valid,
		}
		for k := range m.Header {
			v.Headers[k] = m.Header.Get(k)
		}
		vectors = append(vectors, v)
		if _, err := b.decode(subject, m.Header, m.Data); (err == nil) != c.valid || err != nil && !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: err %v, valid %t", c.name, err, c.valid)
		}
	}
	text, err := json.MarshalIndent(vectors, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "signatures.json", append(text, '\n'))
}
