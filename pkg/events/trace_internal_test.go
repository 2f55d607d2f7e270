package events

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/secret"
)

// TestTheTraceIsInLowerCase: names of NATS headers are case-sensitive, and
// consumers in other languages look for what W3C writes.
func TestTheTraceIsInLowerCase(t *testing.T) {
	t.Parallel()
	want := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true})
	h := nats.Header{}
	b := &Bus{cfg: Config{Propagator: propagation.TraceContext{}}}
	b.inject(trace.ContextWithSpanContext(t.Context(), want), h)
	if len(h["traceparent"]) != 1 || len(h) != 1 {
		t.Fatalf("published with the headers %v, want traceparent alone", h)
	}
	for _, name := range []string{"traceparent", "Traceparent"} {
		got := b.traceOf(t.Context(), nats.Header{name: h["traceparent"]})
		if got.TraceID() != want.TraceID() {
			t.Errorf("from %s: %s, want %s", name, got.TraceID(), want.TraceID())
		}
	}
}

// TestNamesOfSecretsCrossTheBus takes the names that stores allow through the form
// of an event.
func TestNamesOfSecretsCrossTheBus(t *testing.T) {
	t.Parallel()
	signer, err := GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	b := &Bus{cfg: Config{Signer: signer, Verifier: NewVerifier(signer.Public()), MaxEventSize: defaultMaxEventSize}}
	for _, id := range []secret.ID{"rds!cluster-1", "team a/db", "100%", "schlüssel/鍵", `"quoted"`, " a ", "a.>*"} {
		e := Event{ID: "1", Type: TypeRotated, Source: "/s", Time: time.Now(), Data: Data{SecretID: id, VersionID: "v1"}}
		subject := b.cfg.Names.Event(e.Type, id.Key())
		m, err := b.encode(subject, e)
		if err != nil {
			t.Errorf("%q: %v", id, err)
			continue
		}
		if got, err := b.decode(subject, m.Header, m.Data); err != nil || got.Data.SecretID != id {
			t.Errorf("%q comes back as %q, %v", id, got.Data.SecretID, err)
		}
	}
	if got := escapeAttribute(`a "é%`); got != "a%20%22%C3%A9%25" {
		t.Errorf("escaped: %s", got)
	}
}
