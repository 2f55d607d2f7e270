package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestOneTrace follows a rotation by the parents of its spans, from the timer
// that the scheduler armed to the reload in a service: they are one trace.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	id := secret.ID("traced")
	spec := secret.Spec{ID: id, TTL: 20 * time.Second, RefreshMargin: 10 * time.Second, Grace: time.Second, Fence: time.Second, Services: []string{"api"}, Store: "embedded"}
	s := newSite(t, startBroker(t, false), spec)
	s.seed()
	spans := tracetest.NewInMemoryExporter()
	s.traces = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

	nc := s.broker.connect()
	defer nc.Close()
	m, err := client.New(t.Context(), client.Config{
		Service: "api", Source: s.catalog(nc).source, IDs: []secret.ID{id}, Bus: s.bus(nc, "api"), Logger: s.log, TracerProvider: s.traces, Lease: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close(t.Context()) }()
	p := s.run("all", s.scheduler(time.Second), s.worker(2), s.notifier())
	defer p.stop()

	want := []string{"arm secret.near_expiry", "process secret.near_expiry", "rotation", "publish secret.rotated", "process secret.rotated", "fan out", "secret.reload"}
	waittest.Until(t, "one trace leads from the timer to the reload", func() error {
		all := spans.GetSpans()
		for _, reload := range all {
			if reload.Name != "secret.reload" {
				continue
			}
			if way := ancestors(all, reload); inOrder(way, want) {
				return nil
			}
		}
		return fmt.Errorf("no reload has the way %q; seen: %q", want, names(all))
	})
	waittest.Until(t, "the rollout and the retirement are linked to their rotation", func() error {
		all := spans.GetSpans()
		for _, name := range []string{"rollout.converged", "rollout.draining", "arm secret.retire"} {
			if !slices.ContainsFunc(all, func(s tracetest.SpanStub) bool { return s.Name == name && linked(all, s, "rotation") }) {
				return fmt.Errorf("no %s is linked to a rotation; seen: %q", name, names(all))
			}
		}
		return nil
	})
}

// linked reports whether a span has a link to the trace of one with a name.
func linked(all tracetest.SpanStubs, s tracetest.SpanStub, to string) bool {
	return slices.ContainsFunc(s.Links, func(l sdktrace.Link) bool {
		return slices.ContainsFunc(all, func(o tracetest.SpanStub) bool {
			return o.Name == to && o.SpanContext.TraceID() == l.SpanContext.TraceID()
		})
	})
}

// ancestors returns the names from the root of a span's trace down to it.
func ancestors(all tracetest.SpanStubs, s tracetest.SpanStub) []string {
	way := []string{s.Name}
	for s.Parent.IsValid() {
		i := slices.IndexFunc(all, func(o tracetest.SpanStub) bool {
			return o.SpanContext.SpanID() == s.Parent.SpanID() && o.SpanContext.TraceID() == s.SpanContext.TraceID()
		})
		if i < 0 {
			break
		}
		s = all[i]
		way = append(way, s.Name)
	}
	slices.Reverse(way)
	return way
}

// inOrder reports whether want is a subsequence of way.
func inOrder(way, want []string) bool {
	for _, name := range way {
		if len(want) > 0 && name == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

func names(all tracetest.SpanStubs) []string {
	var out []string
	for _, s := range all {
		if s.Name == "secret.reload" {
			out = append(out, fmt.Sprint(ancestors(all, s)))
		}
	}
	return out
}
