package events

import (
	"context"
	"maps"
	"net/textproto"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/propagation"
)

// traceHeaders carries a trace in the headers of a message. Names of NATS headers
// are case-sensitive, and W3C writes them in lower case. What an earlier version
// published has the canonical form of HTTP, and is read too.
type traceHeaders nats.Header

var _ propagation.TextMapCarrier = traceHeaders{}

func (h traceHeaders) Get(key string) string {
	for _, name := range []string{strings.ToLower(key), textproto.CanonicalMIMEHeaderKey(key)} {
		if v := h[name]; len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

func (h traceHeaders) Set(key, value string) { h[strings.ToLower(key)] = []string{value} }

func (h traceHeaders) Keys() []string { return slices.Collect(maps.Keys(h)) }

// inject writes the trace of ctx into the headers of a message.
func (b *Bus) inject(ctx context.Context, h nats.Header) {
	b.cfg.Propagator.Inject(ctx, traceHeaders(h))
}
