package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	eb "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/secret"
)

// account is an emulated AWS account whose Secrets Manager has secrets rotated
// by a function, as the emulator does not: RotateSecret registers the pending
// version and answers, and the test is the function.
type account struct {
	t         *testing.T
	URL       string
	secrets   *sm.Client
	queues    *sqs.Client
	buses     *eb.Client
	announced string // :: URL of the queue behind the event bus
	hints     string // :: URL of the queue that rotator polls

	rules int

	mu        sync.Mutex
	triggered []string // :: tokens
}

const (
	emulated = "eu-central-1"
	byHand   = "Written-by-a-person-1"
	orders   = "orders/db-password"
)

func newAccount(t *testing.T) *account {
	t.Helper()
	target, err := url.Parse(serverstest.StartMoto(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	a := &account{t: t}
	forward := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") == "secretsmanager.RotateSecret" {
			a.rotate(w, r)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	a.URL = front.URL
	keys := credentials.NewStaticCredentialsProvider("test", "test", "")
	a.secrets = sm.New(sm.Options{Region: emulated, BaseEndpoint: &a.URL, Credentials: keys})
	a.queues = sqs.New(sqs.Options{Region: emulated, BaseEndpoint: &a.URL, Credentials: keys})
	a.buses = eb.New(eb.Options{Region: emulated, BaseEndpoint: &a.URL, Credentials: keys})
	a.announced, a.hints = a.queue("announcements"), a.queue("rotator")
	if _, err := a.buses.CreateEventBus(t.Context(), &eb.CreateEventBusInput{Name: aws.String("secrets")}); err != nil {
		t.Fatal(err)
	}
	a.rule("secrets", "announcements", `"tradepulse.rotator"`)
	a.rule("default", "rotator", `"Secret Label Updated"`)
	a.rule("default", "rotator", `"RotationStarted"`)
	return a
}

func (a *account) queue(name string) string {
	a.t.Helper()
	q, err := a.queues.CreateQueue(a.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		a.t.Fatal(err)
	}
	return *q.QueueUrl
}

// rule makes the rule whose pattern docs/eventbridge.md shows, with a queue as
// its target.
func (a *account) rule(bus, queue, with string) {
	a.t.Helper()
	a.rules++
	name, pattern := fmt.Sprint("rule-", a.rules), block(a.t, "../docs/eventbridge.md", with)
	if _, err := a.buses.PutRule(a.t.Context(), &eb.PutRuleInput{Name: &name, EventBusName: &bus, EventPattern: &pattern}); err != nil {
		a.t.Fatal(err)
	}
	arn := "arn:aws:sqs:" + emulated + ":123456789012:" + queue
	if _, err := a.buses.PutTargets(a.t.Context(), &eb.PutTargetsInput{Rule: &name, EventBusName: &bus, Targets: []ebtypes.Target{{Id: aws.String("queue"), Arn: &arn}}}); err != nil {
		a.t.Fatal(err)
	}
}

// happens puts an event of Secrets Manager on the default bus.
func (a *account) happens(detailType, detail string) {
	a.t.Helper()
	out, err := a.buses.PutEvents(a.t.Context(), &eb.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{
		{Source: aws.String("aws.secretsmanager"), DetailType: &detailType, Detail: &detail},
	}})
	if err != nil || out.FailedEntryCount != 0 {
		a.t.Fatal(err, out)
	}
}

// block returns the fenced block of a document that holds a text.
func block(t *testing.T, doc, with string) string {
	t.Helper()
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(string(text), "```") {
		if _, body, ok := strings.Cut(part, "\n"); ok && i%2 == 1 && strings.Contains(body, with) {
			return body
		}
	}
	t.Fatalf("%s has no block with %s", doc, with)
	return ""
}

// rotate answers RotateSecret as AWS does.
func (a *account) rotate(w http.ResponseWriter, r *http.Request) {
	var in struct {
		ID    string `json:"SecretId"`
		Token string `json:"ClientRequestToken"`
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	out, derr := a.secrets.DescribeSecret(r.Context(), &sm.DescribeSecretInput{SecretId: &in.ID})
	if err = errors.Join(err, derr); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if labelled(out, "AWSPENDING") != "" && labelled(out, "AWSPENDING") != labelled(out, "AWSCURRENT") {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"InvalidRequestException","Message":"A previous rotation isn't complete. That rotation will be reattempted."}`)
		return
	}
	a.triggered = append(a.triggered, in.Token)
	_, err = a.secrets.PutSecretValue(r.Context(), &sm.PutSecretValueInput{
		SecretId: &in.ID, ClientRequestToken: &in.Token, SecretString: aws.String(byHand), VersionStages: []string{"AWSPENDING"},
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = fmt.Fprintf(w, `{"ARN":%q,"Name":%q,"VersionId":%q}`, *out.ARN, *out.Name, in.Token)
}

// finish is the last step of the function.
func (a *account) finish(token string) {
	a.t.Helper()
	out := a.describe()
	_, err := a.secrets.UpdateSecretVersionStage(a.t.Context(), &sm.UpdateSecretVersionStageInput{
		SecretId: aws.String(orders), VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: &token, RemoveFromVersionId: aws.String(labelled(out, "AWSCURRENT")),
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *account) describe() *sm.DescribeSecretOutput {
	a.t.Helper()
	out, err := a.secrets.DescribeSecret(a.t.Context(), &sm.DescribeSecretInput{SecretId: aws.String(orders)})
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

func labelled(out *sm.DescribeSecretOutput, label string) string {
	for v, labels := range out.VersionIdsToStages {
		if slices.Contains(labels, label) {
			return v
		}
	}
	return ""
}

func (a *account) tokens() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.triggered...)
}

// hint puts a message into the queue that rotator polls.
func (a *account) hint(bodies ...string) {
	a.t.Helper()
	for _, b := range bodies {
		if _, err := a.queues.SendMessage(a.t.Context(), &sqs.SendMessageInput{QueueUrl: &a.hints, MessageBody: &b}); err != nil {
			a.t.Fatal(err)
		}
	}
}

// drained waits until rotator has taken every hint.
func (a *account) drained() {
	a.t.Helper()
	waittest.Until(a.t, "the queue of hints is empty", func() error {
		out, err := a.queues.GetQueueAttributes(a.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &a.hints, AttributeNames: []sqstypes.QueueAttributeName{
			"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible",
		}})
		if err != nil {
			return err
		}
		for name, n := range out.Attributes {
			if n != "0" {
				return fmt.Errorf("%s is %s", name, n)
			}
		}
		return nil
	})
}

// heard are the events that reached the other side of the event bus.
type heard []eventbridge.Detail

// hear takes what has arrived.
func (a *account) hear(h *heard) {
	a.t.Helper()
	for {
		out, err := a.queues.ReceiveMessage(a.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &a.announced, MaxNumberOfMessages: 10, VisibilityTimeout: 3600})
		if err != nil {
			a.t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return
		}
		for _, m := range out.Messages {
			var e struct{ Detail eventbridge.Detail }
			if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
				a.t.Fatal(err)
			}
			*h = append(*h, e.Detail)
		}
	}
}

// versions returns what was announced as rotated of a secret, in the order in
// which it arrived.
func (h heard) versions(id secret.ID) (out []string) {
	for _, d := range h {
		if d.Type == "secret.rotated" && d.Subject == id {
			out = append(out, string(d.Data.VersionID)+" "+string(d.Data.Reason))
		}
	}
	return out
}

// until waits until the versions of ORDERS_DB_PASSWORD that were announced are
// these.
func (a *account) until(h *heard, want ...string) {
	a.t.Helper()
	waittest.Until(a.t, "every version is announced", func() error {
		a.hear(h)
		if got := h.versions("ORDERS_DB_PASSWORD"); fmt.Sprint(got) != fmt.Sprint(want) {
			return fmt.Errorf("announced %v, want %v", got, want)
		}
		return nil
	})
}

// change is the event of a change of ORDERS_DB_PASSWORD.
func change(detailType, name, arn string) string {
	return fmt.Sprintf(`{"version":"0","id":"e","detail-type":%q,"source":"aws.secretsmanager","account":"123456789012","region":"eu-central-1","resources":[],
		"detail":{"eventSource":"secretsmanager.amazonaws.com","eventName":%q,"requestParameters":{"secretId":%q},"additionalEventData":{"SecretId":%q}}}`, detailType, name, arn, arn)
}

// TestEventBridgeBothWays runs the example as a reader of the document would:
// what happens on the bus reaches the event bus, what happens in AWS reaches the
// bus at once, and a function rotates the secret with the external strategy.
func TestEventBridgeBothWays(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	made, err := a.secrets.CreateSecret(t.Context(), &sm.CreateSecretInput{Name: aws.String(orders), SecretString: aws.String(byHand)})
	if err != nil {
		t.Fatal(err)
	}
	health := freeAddress(t)
	r := reader{t: t, env: []string{
		"AWS_ENDPOINT_URL=" + a.URL, "AWS_REGION=" + emulated, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
		"ROTATOR_AWS_EVENTS_QUEUE=" + a.hints, "STATE_DIRECTORY=" + t.TempDir(), "ROTATOR_NODE_LISTEN=" + freeAddress(t), "ROTATOR_HTTP_LISTEN=" + health,
	}}
	const cfg = "docs/examples/eventbridge.yaml"
	r.run([]string{"rotator", "run", "--config", cfg})
	var h heard
	first := *made.VersionId + " external"
	a.until(&h, first)

	// A person writes the secret past rotator, and AWS says so, more than once
	// and in a mess; some of it is forged.
	put, err := a.secrets.PutSecretValue(t.Context(), &sm.PutSecretValueInput{SecretId: aws.String(orders), SecretString: aws.String(byHand + "2")})
	if err != nil {
		t.Fatal(err)
	}
	api, service := "AWS API Call via CloudTrail", "AWS Service Event via CloudTrail"
	for range 3 {
		a.hint(change(service, "RotationSucceeded", *made.ARN), change(api, "PutSecretValue", *made.ARN), change(service, "RotationFailed", *made.ARN),
			change(service, "RotationStarted", *made.ARN), change(api, "UpdateSecretVersionStage", orders), change(api, "DeleteSecret", "tradepulse/admin-token"),
			change(service, "RotationFailed", "tradepulse/admin-token"), `{"source":"aws.secretsmanager",`, byHand)
	}
	second := *put.VersionId + " external"
	a.until(&h, first, second)
	a.drained()

	// By the rules, as it comes from AWS.
	put, err = a.secrets.PutSecretValue(t.Context(), &sm.PutSecretValueInput{SecretId: aws.String(orders), SecretString: aws.String(byHand + "3")})
	if err != nil {
		t.Fatal(err)
	}
	a.happens("Secret Label Updated", fmt.Sprintf(`{"name":%q,"labelUpdated":"AWSCURRENT","versionId":%q}`, orders, *put.VersionId))
	third := *put.VersionId + " external"
	a.until(&h, first, second, third)
	put, err = a.secrets.PutSecretValue(t.Context(), &sm.PutSecretValueInput{SecretId: aws.String(orders), SecretString: aws.String(byHand + "4")})
	if err != nil {
		t.Fatal(err)
	}
	a.happens(service, fmt.Sprintf(`{"eventSource":"secretsmanager.amazonaws.com","eventName":"RotationSucceeded","additionalEventData":{"SecretId":%q}}`, *made.ARN))
	fourth := *put.VersionId + " external"
	a.until(&h, first, second, third, fourth)

	// By hand: the function is triggered with a token of ours, and takes its time.
	p := r.start([]string{"rotator", "rotate", "ORDERS_DB_PASSWORD", "--config", cfg})
	waittest.Until(t, "the node follows the rotation of the platform", func() error {
		if !strings.Contains(r.node.out.String(), `"code":"running"`) {
			return errors.New("no program follows the rotation")
		}
		return nil
	})
	tokens := a.tokens()
	if len(tokens) != 1 {
		t.Fatalf("triggered as %v, want once", tokens)
	}
	a.hint(change(service, "RotationFailed", *made.ARN)) // forged: it has not
	a.drained()
	a.finish(tokens[0])
	a.hint(change(service, "RotationSucceeded", *made.ARN))
	if code := p.wait(t); code != 0 || !strings.Contains(p.out.String(), *put.VersionId+" → "+tokens[0]) {
		t.Errorf("rotate: exit %d: %s", code, p.out)
	}
	waittest.Until(t, "the fifth version is announced once", func() error {
		a.hear(&h)
		if got := h.versions("ORDERS_DB_PASSWORD"); len(got) != 5 || !strings.HasPrefix(got[4], tokens[0]) {
			return fmt.Errorf("announced %v, want the fifth version, once", got)
		}
		return nil
	})
	var metrics string
	if err := get(t, "http://"+health+"/metrics", &metrics); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"rotator_eventbridge_waiting", "rotator_eventbridge_blocked_seconds", "rotator_eventbridge_entries_total", "rotator_eventbridge_hints_total",
	} {
		if !strings.Contains(metrics, "\n"+name+"{") && !strings.Contains(metrics, "\n"+name+" ") {
			t.Errorf("there is no metric %s, of which the document speaks", name)
		}
	}
	if code := r.node.drain(t); code != 0 {
		t.Errorf("drain: exit %d:\n%s", code, r.node.out)
	}
	a.hear(&h)
	if got := h.versions("TRADEPULSE_ADMIN_TOKEN_ID"); len(got) != 1 {
		t.Errorf("TRADEPULSE_ADMIN_TOKEN_ID was announced as %v, want its first version only", got)
	}
	ids := map[string]bool{}
	for _, d := range h {
		if d.Type == "secret.rotation_failed" || ids[d.ID] {
			t.Errorf("%s of %s arrived, twice or wrongly", d.Type, d.Subject)
		}
		ids[d.ID] = true
	}
	if strings.Contains(r.node.out.String(), byHand) {
		t.Error("a value is in the log")
	}
}
