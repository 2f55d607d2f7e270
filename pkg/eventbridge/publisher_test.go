package eventbridge_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/events"
)

func TestPublishTakesEachEventOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	es := happenings(95)
	if err := s.publisher().Publish(t.Context(), es...); err != nil {
		t.Fatal(err)
	}
	if got := s.front.sizes(); len(got) != 10 || slices.Max(got) != 10 {
		t.Errorf("requests of %v entries, want ten of at most 10", got)
	}
	s.wantEach(es)
}

func TestAnEntryIsTheEventItself(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	sc := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{0x4b, 0xf9, 0x2f, 0x35, 15: 1}, SpanID: trace.SpanID{0xf0, 7: 2}, TraceFlags: trace.FlagsSampled,
	})
	e := happenings(1)[0]
	if err := s.publisher().Publish(trace.ContextWithSpanContext(t.Context(), sc), e); err != nil {
		t.Fatal(err)
	}
	a := s.take(1)[0]
	if a.Source != eventbridge.DefaultSource || a.DetailType != "secret.rotated" {
		t.Errorf("source %q, detail-type %q", a.Source, a.DetailType)
	}
	d := a.Detail
	if d.SpecVersion != "1.0" || d.ID != e.ID || d.Source != e.Source || d.Type != e.Type || d.Subject != e.Data.SecretID || !d.Time.Equal(e.Time) || !reflect.DeepEqual(d.Data, e.Data) {
		t.Errorf("detail %+v is not the event %+v", d, e)
	}
	if want := "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-01"; d.TraceParent != want {
		t.Errorf("traceparent %q, want %q", d.TraceParent, want)
	}
	const want = "Root=1-4bf92f35-000000000000000000000001;Parent=f000000000000002;Sampled=1"
	if got := s.front.requests[0][0].TraceHeader; got != want {
		t.Errorf("trace header %q, want %q", got, want)
	}
}

func TestOnlyWhatWasRefusedIsPutAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.front.refuse = func(e entry, tries int) string {
		switch sum := len(e.Detail) + len(e.detail().ID); {
		case tries < 3 && e.detail().Type == events.TypeRollout:
			return "ThrottlingException"
		case tries < 2 && sum%2 == 0:
			return "InternalFailure"
		}
		return ""
	}
	es := happenings(60)
	if err := s.publisher().Publish(t.Context(), es...); err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if n := s.front.tries[e.ID]; e.Type == events.TypeRollout && n != 3 || n > 3 {
			t.Errorf("%s was put %d times", e.Type, n)
		}
	}
	s.wantEach(es)
}

func TestARefusedEntryHoldsNoOtherBack(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	es := happenings(12)
	codes := map[string]string{es[2].ID: "MalformedDetail", es[5].ID: "NotAuthorizedForSourceException", es[9].ID: "ThrottlingException"}
	s.front.refuse = func(e entry, _ int) string { return codes[e.detail().ID] }
	tooLarge := es[11]
	tooLarge.Data.Store = strings.Repeat("x", 256<<10)
	stays := es[10]
	stays.Type = events.TypeNearExpiry
	all := append(slices.Clone(es[:10]), tooLarge, stays)

	err := s.publisher().Publish(t.Context(), all...)
	p, ok := errors.AsType[*eventbridge.PublishError](err)
	if !ok {
		t.Fatalf("error %v, want a PublishError", err)
	}
	permanent := map[int]bool{2: true, 5: false, 9: false, 10: true, 11: true}
	if len(p.Failures) != len(permanent) {
		t.Errorf("%d failures, want %d: %v", len(p.Failures), len(permanent), err)
	}
	for _, f := range p.Failures {
		if want, ok := permanent[f.Index]; !ok || f.Event != all[f.Index].ID || events.IsPermanent(f.Err) != want {
			t.Errorf("failure %d of %s: %v, permanent %t", f.Index, f.Event, f.Err, events.IsPermanent(f.Err))
		}
	}
	if n := s.front.tries[es[9].ID]; n != eventbridge.DefaultAttempts {
		t.Errorf("a throttled entry was put %d times, want %d", n, eventbridge.DefaultAttempts)
	}
	if a, b := s.front.tries[es[2].ID], s.front.tries[es[5].ID]; a != 1 || b != 1 {
		t.Errorf("entries that AWS never takes were put %d and %d times, want 1", a, b)
	}
	s.wantEach(slices.DeleteFunc(es[:10], func(e events.Event) bool { return codes[e.ID] != "" }))
}

func TestRequestsStayWithinTheLimit(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	es := happenings(12)
	for i := range es {
		es[i].Data.Store = strings.Repeat("x", 60<<10)
	}
	if err := s.publisher().Publish(t.Context(), es...); err != nil {
		t.Fatal(err)
	}
	if got := s.front.sizes(); slices.Max(got) > 4 {
		t.Errorf("requests of %v entries of 60 KB each, want at most 4", got)
	}
	s.wantEach(es)
}

func TestALostAnswerRepeatsTheSameID(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	e, p := happenings(1)[0], s.publisher()
	s.front.set(func(f *front) { f.lost = 1 })
	if err := p.Publish(t.Context(), e); err == nil || events.IsPermanent(err) {
		t.Fatalf("a lost answer gives %v, want an error that is not permanent", err)
	}
	if err := p.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	for _, a := range s.take(2) {
		if a.Detail.ID != e.ID {
			t.Errorf("it arrived as %s, want %s", a.Detail.ID, e.ID)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if _, err := eventbridge.New(nil, eventbridge.Config{}); err == nil {
		t.Error("no client is an error")
	}
	if _, err := eventbridge.New(buses("http://127.0.0.1:1"), eventbridge.Config{Source: "aws.secretsmanager"}); err == nil {
		t.Error("a source that AWS keeps to itself is an error")
	}
}
