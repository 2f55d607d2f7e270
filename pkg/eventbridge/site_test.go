package eventbridge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	eb "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	region  = "us-east-1"
	busName = "announcements"
)

var t0 = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// site is an emulated account: an event bus whose rule puts what a Publisher
// writes into a queue, behind a front that can misbehave as the field does.
type site struct {
	t     *testing.T
	front *front
	sqs   *sqs.Client
	queue string // :: URL
}

func newSite(t *testing.T) *site {
	t.Helper()
	moto := serverstest.StartMoto(t)
	s := &site{t: t, front: newFront(t, moto.URL), sqs: queues(moto.URL)}
	var arn string
	s.queue, arn = s.makeQueue("events", nil)
	admin := buses(moto.URL)
	if _, err := admin.CreateEventBus(t.Context(), &eb.CreateEventBusInput{Name: aws.String(busName)}); err != nil {
		t.Fatal(err)
	}
	pattern := fmt.Sprintf(`{"source": [%q], "detail-type": ["secret.rotated", "secret.rotation_failed", "secret.rollout"]}`, eventbridge.DefaultSource)
	if _, err := admin.PutRule(t.Context(), &eb.PutRuleInput{Name: aws.String("all"), EventBusName: aws.String(busName), EventPattern: &pattern}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.PutTargets(t.Context(), &eb.PutTargetsInput{
		Rule: aws.String("all"), EventBusName: aws.String(busName), Targets: []ebtypes.Target{{Id: aws.String("queue"), Arn: &arn}},
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) makeQueue(name string, attributes map[string]string) (queueURL, arn string) {
	s.t.Helper()
	q, err := s.sqs.CreateQueue(s.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := s.sqs.GetQueueAttributes(s.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return *q.QueueUrl, out.Attributes["QueueArn"]
}

// publisher returns a Publisher that goes through the front.
func (s *site) publisher() *eventbridge.Publisher {
	s.t.Helper()
	p, err := eventbridge.New(buses(s.front.URL), eventbridge.Config{Bus: busName, Pause: time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// arrived is an event as a rule hands it to its target.
type arrived struct {
	ID         string             `json:"id"`
	Source     string             `json:"source"`
	DetailType string             `json:"detail-type"`
	Detail     eventbridge.Detail `json:"detail"`
}

// take returns the n events that the queue holds, in the order of arrival.
func (s *site) take(n int) []arrived {
	s.t.Helper()
	var out []arrived
	deadline := time.Now().Add(3 * time.Minute)
	for len(out) < n && time.Now().Before(deadline) {
		out = append(out, s.receive(1)...)
	}
	if out = append(out, s.receive(0)...); len(out) != n {
		s.t.Fatalf("%d events arrived, want %d", len(out), n)
	}
	return out
}

func (s *site) receive(seconds int32) []arrived {
	s.t.Helper()
	got, err := s.sqs.ReceiveMessage(s.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &s.queue, MaxNumberOfMessages: 10, WaitTimeSeconds: seconds, VisibilityTimeout: 3600})
	if err != nil {
		s.t.Fatal(err)
	}
	var out []arrived
	var done []sqstypes.DeleteMessageBatchRequestEntry
	for _, m := range got.Messages {
		var a arrived
		if err := json.Unmarshal([]byte(*m.Body), &a); err != nil {
			s.t.Fatal(err)
		}
		out, done = append(out, a), append(done, sqstypes.DeleteMessageBatchRequestEntry{Id: m.MessageId, ReceiptHandle: m.ReceiptHandle})
	}
	if done != nil {
		if _, err := s.sqs.DeleteMessageBatch(s.t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &s.queue, Entries: done}); err != nil {
			s.t.Fatal(err)
		}
	}
	return out
}

// wantEach fails the test unless each of the events has arrived once by its id.
func (s *site) wantEach(es []events.Event) {
	s.t.Helper()
	times := map[string]int{}
	for _, a := range s.take(len(es)) {
		times[a.Detail.ID]++
	}
	for _, e := range es {
		if times[e.ID] != 1 {
			s.t.Errorf("%s of %s arrived %d times, want 1", e.Type, e.Data.SecretID, times[e.ID])
		}
	}
}

func options(endpoint string) (aws.CredentialsProvider, *string) {
	return credentials.NewStaticCredentialsProvider("root", "root", ""), &endpoint
}

func buses(endpoint string) *eb.Client {
	c, e := options(endpoint)
	return eb.New(eb.Options{Region: region, BaseEndpoint: e, Credentials: c, RetryMaxAttempts: 1})
}

func queues(endpoint string) *sqs.Client {
	c, e := options(endpoint)
	return sqs.New(sqs.Options{Region: region, BaseEndpoint: e, Credentials: c, RetryMaxAttempts: 1})
}

// front stands before the emulator, which takes every entry and never fails.
type front struct {
	*httptest.Server
	mu       sync.Mutex
	forward  http.Handler
	requests [][]entry
	// refuse says which code an entry is refused with, "" to let it through.
	// tries is how often it was put, from 1.
	refuse func(e entry, tries int) string
	tries  map[string]int
	// down answers everything with 503; lost forwards and then drops that many
	// answers.
	down bool
	lost int
	// invalid says that a request is refused as a whole for what is in it.
	invalid func(request []entry) bool
}

// entry is one of a request to PutEvents.
type entry struct {
	Source, DetailType, Detail, EventBusName, TraceHeader string
}

func (e entry) detail() eventbridge.Detail {
	var d eventbridge.Detail
	_ = json.Unmarshal([]byte(e.Detail), &d) // an entry that holds none has no id
	return d
}

func newFront(t *testing.T, to string) *front {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	f := &front{forward: httputil.NewSingleHostReverseProxy(target), tries: map[string]int{}, refuse: func(entry, int) string { return "" }}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// set changes how the front behaves.
func (f *front) set(change func(*front)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".PutEvents") {
		f.forward.ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	var in struct{ Entries []json.RawMessage }
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	down, lost, codes := f.judge(in.Entries)
	if down {
		http.Error(w, "", http.StatusServiceUnavailable)
		return
	}
	if codes == nil {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"__type":"ValidationException","message":"1 validation error detected"}`)) // the client sees to it
		return
	}
	through := in.Entries[:0:0]
	for i, raw := range in.Entries {
		if codes[i] == "" {
			through = append(through, raw)
		}
	}
	answer := f.pass(r, through)
	if lost {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, _ = w.Write(results(codes, answer)) // the client sees to it
}

// judge counts a request and says what becomes of it: no codes mean that it is
// refused as a whole.
func (f *front) judge(raw []json.RawMessage) (down, lost bool, codes []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return true, false, nil
	}
	if f.lost > 0 {
		f.lost--
		lost = true
	}
	request := make([]entry, len(raw))
	codes = make([]string, len(raw))
	for i := range raw {
		_ = json.Unmarshal(raw[i], &request[i]) // the emulator says so
		id := request[i].detail().ID
		f.tries[id]++
		codes[i] = f.refuse(request[i], f.tries[id])
	}
	if f.invalid != nil && f.invalid(request) {
		return false, false, nil
	}
	f.requests = append(f.requests, request)
	return false, lost, codes
}

type result struct {
	EventID      string `json:"EventId,omitempty"`
	ErrorCode    string `json:",omitempty"`
	ErrorMessage string `json:",omitempty"`
}

// pass forwards the entries that are left and returns their results.
func (f *front) pass(r *http.Request, through []json.RawMessage) []result {
	if len(through) == 0 {
		return nil
	}
	body, _ := json.Marshal(map[string]any{"Entries": through}) //nolint:errchkjson // made of JSON
	out := r.Clone(r.Context())
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	rec := httptest.NewRecorder()
	f.forward.ServeHTTP(rec, out)
	var answer struct{ Entries []result }
	_ = json.Unmarshal(rec.Body.Bytes(), &answer) // too few results fail the client
	return answer.Entries
}

// results puts refusals between the results of the emulator.
func results(codes []string, passed []result) []byte {
	failed, out := 0, []result{}
	for _, code := range codes {
		switch {
		case code != "":
			failed++
			out = append(out, result{ErrorCode: code, ErrorMessage: "as the field says it"})
		case len(passed) > 0:
			out, passed = append(out, passed[0]), passed[1:]
		}
	}
	b, _ := json.Marshal(map[string]any{"FailedEntryCount": failed, "Entries": out}) //nolint:errchkjson // made of text
	return b
}

// sizes returns how many entries each request had so far.
func (f *front) sizes() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]int, len(f.requests))
	for i, r := range f.requests {
		out[i] = len(r)
	}
	return out
}

// happenings returns n events of the three types.
func happenings(n int) []events.Event {
	out := make([]events.Event, n)
	for i := range out {
		at := t0.Add(time.Duration(i) * time.Second)
		d := events.Data{
			SecretID: secret.ID(fmt.Sprintf("SECRET_%03d", i/3)), Store: "aws", VersionID: secret.VersionID(fmt.Sprintf("v-%d", i)),
			Reason: events.ReasonNearExpiry, OccurredAt: at,
		}
		switch i % 3 {
		case 0:
			out[i] = events.Rotated("/test", at, d)
		case 1:
			d.Rollout = &events.Rollout{State: events.RolloutRolling, StartedAt: at}
			out[i] = events.Event{ID: fmt.Sprintf("rollout-%d", i), Type: events.TypeRollout, Source: "/test", Time: at, Data: d}
		default:
			d.Failure = &events.Failure{Step: "verify", Code: "rejected", Message: "the target refused it"}
			out[i] = events.Event{ID: fmt.Sprintf("failed-%d", i), Type: events.TypeRotationFailed, Source: "/test", Time: at, Data: d}
		}
	}
	return out
}
