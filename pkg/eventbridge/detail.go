package eventbridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// DefaultSource is the source of entries unless a configuration says otherwise.
const DefaultSource = "tradepulse.rotator"

const (
	specVersion = "1.0"
	contentJSON = "application/json"
)

// Detail is the detail of an entry: the event as CloudEvents 1.0 in structured
// JSON. It never holds a value, nor anything computed from one.
type Detail struct {
	// The version of CloudEvents: 1.0.
	SpecVersion string `json:"specversion"`
	// The same for the same occurrence, however often it arrives: take each id
	// once.
	ID string `json:"id"`
	// The component that says so, such as /rotator/worker/host-1.
	Source string `json:"source"`
	// The type of the event, which is the detail-type as well.
	Type events.Type `json:"type"`
	// The id of the secret.
	Subject secret.ID `json:"subject"`
	// When it happened.
	Time time.Time `json:"time"`
	// The type of data: application/json.
	DataContentType string `json:"datacontenttype"`
	// The W3C trace context of the cause.
	TraceParent string `json:"traceparent,omitempty"`
	// What happened, as it is on the bus.
	Data events.Data `json:"data"`
}

// Types returns the types of event that go to EventBridge.
func Types() []events.Type {
	return []events.Type{events.TypeRotated, events.TypeRotationFailed, events.TypeRollout}
}

// newDetail returns the detail of e with the trace context of ctx.
func newDetail(ctx context.Context, e events.Event) Detail {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return Detail{
		SpecVersion: specVersion, ID: e.ID, Source: e.Source, Type: e.Type, Subject: e.Data.SecretID, Time: e.Time.UTC(),
		DataContentType: contentJSON, TraceParent: carrier.Get("traceparent"), Data: e.Data,
	}
}

// The bounds of a request. AWS documents 256 KB in some places and 1 MB in
// others, for a request and for an entry alike: the smaller holds everywhere.
const (
	maxEntries = 10
	maxBytes   = 256 << 10
	timeBytes  = 14 // what AWS counts for the time of an entry
)

// entry returns e as an entry. An error is permanent: the event never will be
// one.
func (p *Publisher) entry(ctx context.Context, e events.Event) (types.PutEventsRequestEntry, error) {
	if err := publishable(e); err != nil {
		return types.PutEventsRequestEntry{}, events.Permanent(err)
	}
	raw, err := json.Marshal(newDetail(ctx, e))
	if err != nil {
		return types.PutEventsRequestEntry{}, events.Permanent(fmt.Errorf("encode %s: %w", e.Type, err))
	}
	detail, detailType, at := string(raw), string(e.Type), e.Time.UTC()
	out := types.PutEventsRequestEntry{Source: &p.cfg.Source, DetailType: &detailType, Detail: &detail, Time: &at, TraceHeader: traceHeader(ctx)}
	if p.cfg.Bus != "" {
		out.EventBusName = &p.cfg.Bus
	}
	if n := size(out); n >= maxBytes {
		return types.PutEventsRequestEntry{}, events.Permanent(fmt.Errorf("encode %s: %d bytes, the limit is %d", e.Type, n, maxBytes))
	}
	return out, nil
}

func publishable(e events.Event) error {
	switch e.Type {
	case events.TypeRotated, events.TypeRotationFailed, events.TypeRollout:
	default:
		return errors.New("events of this type stay on the bus")
	}
	if e.ID == "" || e.Time.IsZero() {
		return errors.New("an event needs an id and a time")
	}
	return e.Data.SecretID.Validate()
}

// size returns what AWS counts an entry as.
func size(e types.PutEventsRequestEntry) int {
	return timeBytes + len(*e.Source) + len(*e.DetailType) + len(*e.Detail)
}

// traceHeader returns the trace of ctx as X-Ray writes it, nil without one.
func traceHeader(ctx context.Context) *string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return nil
	}
	id, sampled := sc.TraceID().String(), 0
	if sc.IsSampled() {
		sampled = 1
	}
	h := fmt.Sprintf("Root=1-%s-%s;Parent=%s;Sampled=%d", id[:8], id[8:], sc.SpanID(), sampled)
	return &h
}
