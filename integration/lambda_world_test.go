package integration

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsevents "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// boundary is a moment of a call that the function makes: before the other side
// gets it, or after the other side has answered and before the function hears.
type boundary struct {
	call  string // such as PutSecretValue, or publish
	after bool
}

func (b boundary) String() string {
	if b.after {
		return "after " + b.call
	}
	return "before " + b.call
}

// crossings tells a test of every boundary. What the hook does, it does while
// the call waits; a call that it does not let through is never answered.
type crossings struct {
	mu   sync.Mutex
	hook func(boundary) (through bool)
	cuts int
	dial int // how often the bus was connected to
}

func (c *crossings) opened() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dial
}

// cut makes every connection to the bus that there is dead, as one is whose
// other side went away while the function was frozen: what is sent gets nowhere,
// and no event says so.
func (c *crossings) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cuts++
}

func (c *crossings) cutSoFar() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts
}

func (c *crossings) set(hook func(boundary) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hook = hook
}

func (c *crossings) cross(call string, after bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hook == nil || c.hook(boundary{call, after})
}

// front stands before an AWS emulator.
func (c *crossings) front(t *testing.T, to string) string {
	t.Helper()
	p := serverstest.StartProxy(t, to)
	p.Inject(-1, nil, func(_ *serverstest.Proxy, w http.ResponseWriter, r *http.Request, next http.Handler) {
		_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if !c.cross(action, false) {
			<-r.Context().Done()
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context()))) // the caller may die meanwhile
		if !c.cross(action, true) {
			<-r.Context().Done()
			return
		}
		text := answer.Body.Bytes()
		if action == "DescribeSecret" {
			text = older(text)
		}
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		w.WriteHeader(answer.Code)
		_, _ = w.Write(text)
	})
	return p.URL
}

var createdDate = regexp.MustCompile(`"CreatedDate": ?([0-9]+)`)

// older makes a secret an hour older than it is: the date of a version of one
// that was changed since it was made has to be asked for.
func older(description []byte) []byte {
	return createdDate.ReplaceAllFunc(description, func(m []byte) []byte {
		at, err := strconv.ParseInt(string(createdDate.FindSubmatch(m)[1]), 10, 64)
		if err != nil {
			panic(err) // the pattern matches digits
		}
		return fmt.Appendf(nil, `"CreatedDate": %d`, at-3600)
	})
}

// bus stands before a NATS server, where the calls are what is published on a
// subject that begins with secret.
func (c *crossings) bus(t *testing.T, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.dial++
			c.mu.Unlock()
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
			published := make(chan string, 16)
			all.Go(func() { c.pipe(server, client, func(b []byte) bool { return c.publishes(b, published) }) })
			all.Go(func() { c.pipe(client, server, func([]byte) bool { return c.answered(published) }) })
		}
	})
	return l.Addr().String()
}

// pipe copies from one connection to the other what look lets through.
func (c *crossings) pipe(to, from net.Conn, look func([]byte) bool) {
	defer to.Close()
	buf, cuts := make([]byte, 64<<10), c.cutSoFar()
	for {
		n, err := from.Read(buf)
		if err == nil && c.cutSoFar() != cuts {
			continue
		}
		if err != nil || !look(buf[:n]) {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (c *crossings) publishes(b []byte, published chan<- string) bool {
	_, rest, ok := bytes.Cut(b, []byte("HPUB secret."))
	if !ok {
		return true
	}
	kind, _, _ := bytes.Cut(rest, []byte("."))
	if !c.cross("publish "+string(kind), false) {
		return false
	}
	published <- string(kind)
	return true
}

func (c *crossings) answered(published <-chan string) bool {
	select {
	case kind := <-published:
		return c.cross("publish "+kind, true)
	default:
		return true
	}
}

// hosted is a site whose secrets AWS rotates by the function.
type hosted struct {
	*site

	calls  crossings
	sm     *sm.Client
	fn     *serverstest.Lambda
	nc     *nats.Conn
	config string // the file
	arn    string // of the function, as AWS is told
	key    string // that signs, in PEM
}

// fnTimeout is the timeout of the function where a test is not about it.
const fnTimeout = time.Minute

// newHosted starts Secrets Manager, a bus and the function over both. extra is
// put into its configuration, where ENDPOINT is that of AWS; with a nats of its
// own it is the only one.
func newHosted(t *testing.T, extra string, specs ...secret.Spec) *hosted {
	t.Helper()
	moto := serverstest.StartMoto(t)
	b := startBroker(t, true)
	h := &hosted{site: newSite(t, b, specs...), arn: "arn:aws:lambda:eu-central-1:123456789012:function:rotator"}
	h.backend = service{Kind: "aws", URL: moto.URL}
	h.nc = b.connect()
	t.Cleanup(h.nc.Close)
	h.sm = sm.New(sm.Options{Region: "eu-central-1", BaseEndpoint: &moto.URL, RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")})
	dir := t.TempDir()
	if err := os.Symlink(binary(t, "rotator"), filepath.Join(dir, "bootstrap")); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	if err := h.signer.Save(key); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	h.config = filepath.Join(dir, "rotator.yaml")
	front := h.calls.front(t, moto.URL)
	extra = strings.ReplaceAll(extra, "ENDPOINT", front)
	if !strings.Contains(extra, "nats:") {
		extra += fmt.Sprintf("nats: {url: %q}\n", "nats://"+h.calls.bus(t, b.server.Load().Addr().String()))
	}
	h.configure(fmt.Sprintf("stores: {embedded: {type: aws, endpoint: %q}}\n%s%s", front, extra, listed(specs)))
	h.key = string(pem)
	h.fn = serverstest.NewLambda(t, h.bootstrap(), "SIGNING_KEY="+h.key)
	return h
}

// bootstrap returns the program, with its configuration beside it.
func (h *hosted) bootstrap() string { return filepath.Join(filepath.Dir(h.config), "bootstrap") }

func (h *hosted) configure(text string) {
	h.t.Helper()
	text = "log: {level: debug}\nsigning: {key: {env: SIGNING_KEY}}\n" + text
	if err := os.WriteFile(h.config, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func listed(specs []secret.Spec) string {
	if len(specs) == 0 {
		return ""
	}
	text := "secrets:\n"
	for _, s := range specs {
		text += fmt.Sprintf("  - {id: %q, path: %q, rollout: %q, strategy: %q, services: [%s]}\n",
			s.ID, s.StorePath(), cmp.Or(s.Rollout, secret.RolloutActivate), cmp.Or(s.Strategy, secret.StrategyGenerate), strings.Join(s.Services, ","))
	}
	return text
}

// make makes a secret with a first value and returns its ARN.
func (h *hosted) make(name, value string) string {
	h.t.Helper()
	out, err := h.sm.CreateSecret(h.t.Context(), &sm.CreateSecretInput{Name: &name, SecretString: &value})
	if err != nil {
		h.t.Fatal(err)
	}
	return *out.ARN
}

// begin does what RotateSecret does before it invokes the function: it enables
// rotation and registers the token on a pending version, without a value or, to
// try the configuration out, with a copy of the current one. moto does all of
// that and then fails, because it runs functions with Docker only.
func (h *hosted) begin(arn string, immediately bool) secret.Token {
	h.t.Helper()
	token := secret.NewToken("secrets manager", secret.VersionID(arn), "", int(time.Now().UnixNano()))
	_, err := h.sm.RotateSecret(h.t.Context(), &sm.RotateSecretInput{
		SecretId: &arn, ClientRequestToken: aws.String(string(token)), RotateImmediately: aws.Bool(immediately),
		RotationLambdaARN: &h.arn,
		RotationRules:     &types.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)},
	})
	var gone *types.ResourceNotFoundException
	if !errors.As(err, &gone) || !strings.Contains(err.Error(), h.arn) {
		h.t.Fatalf("RotateSecret: %v, want that the function is not found", err)
	}
	return token
}

// settle does what Secrets Manager does after a rotation that succeeded: it
// takes AWSPENDING from the version that became current.
func (h *hosted) settle(arn string, token secret.Token) {
	h.t.Helper()
	labels := h.labels(arn)
	if !slices.Contains(labels[string(token)], "AWSCURRENT") || !slices.Contains(labels[string(token)], "AWSPENDING") {
		return
	}
	h.unlabel(arn, token)
}

// unlabel takes AWSPENDING away from a version.
func (h *hosted) unlabel(arn string, token secret.Token) {
	h.t.Helper()
	_, err := h.sm.UpdateSecretVersionStage(h.t.Context(), &sm.UpdateSecretVersionStageInput{SecretId: &arn, VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: aws.String(string(token))})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *hosted) labels(arn string) map[string][]string {
	h.t.Helper()
	out, err := h.sm.DescribeSecret(h.t.Context(), &sm.DescribeSecretInput{SecretId: &arn})
	if err != nil {
		h.t.Fatal(err)
	}
	return out.VersionIdsToStages
}

var lambdaSteps = []string{"createSecret", "setSecret", "testSecret", "finishSecret"}

// step asks the function for one step.
func (h *hosted) step(step, arn string, token secret.Token) error {
	return h.stepWithin(fnTimeout, step, arn, token)
}

const rotationToken = "rotation-token-which-is-sensitive-and-must-not-be-seen"

func (h *hosted) stepWithin(timeout time.Duration, step, arn string, token secret.Token) error {
	event, err := json.Marshal(map[string]string{"Step": step, "SecretId": arn, "ClientRequestToken": string(token), "RotationToken": rotationToken})
	if err != nil {
		return err
	}
	_, err = h.fn.Invoke(string(event), timeout)
	return err
}

// drive asks for all steps. AWS does so again when one fails.
func (h *hosted) drive(arn string, token secret.Token) error {
	for _, step := range lambdaSteps {
		if err := h.step(step, arn, token); err != nil {
			return err
		}
	}
	h.settle(arn, token)
	return nil
}

// rotated demands the end of a rotation that succeeded: the token is the current
// version, what was current is previous, nothing is pending, and the log says so
// once.
func (h *hosted) rotated(when, arn string, id secret.ID, token secret.Token, from string) {
	h.t.Helper()
	for v, labels := range h.labels(arn) {
		want := ""
		switch v {
		case string(token):
			want = "AWSCURRENT"
		case from:
			want = "AWSPREVIOUS"
		}
		if got := strings.Join(labels, " "); got != want {
			h.t.Errorf("%s: version %s has the labels %q, want %q", when, v, got, want)
		}
	}
	log := logOf(h.t, h.nc, events.TypeRotated)[id]
	if n := countVersion(log, secret.VersionID(token)); n != 1 {
		h.t.Errorf("%s: secret.rotated stands %d times in the log", when, n)
		return
	}
	if last := log[len(log)-1]; last.VersionID != secret.VersionID(token) || last.PreviousVersionID != secret.VersionID(from) || last.Reason != events.ReasonLambda {
		h.t.Errorf("%s: the last announcement is %+v", when, last)
	}
}

// current returns the version that has AWSCURRENT.
func (h *hosted) current(arn string) string {
	h.t.Helper()
	for v, labels := range h.labels(arn) {
		if slices.Contains(labels, "AWSCURRENT") {
			return v
		}
	}
	h.t.Fatalf("%s has no current version", arn)
	return ""
}

// eventBus makes an event bus whose rule puts everything into a queue, and
// returns what the queue holds.
func (h *hosted) eventBus(t *testing.T) (received func() []eventbridge.Detail) {
	t.Helper()
	access := aws.Config{Region: "eu-central-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
	queues := sqs.NewFromConfig(access, func(o *sqs.Options) { o.BaseEndpoint = &h.backend.URL })
	q, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("announced")})
	if err != nil {
		t.Fatal(err)
	}
	admin := awsevents.NewFromConfig(access, func(o *awsevents.Options) { o.BaseEndpoint = &h.backend.URL })
	if _, err := admin.PutRule(t.Context(), &awsevents.PutRuleInput{Name: aws.String("all"), EventPattern: aws.String(`{"source": ["` + eventbridge.DefaultSource + `"]}`)}); err != nil {
		t.Fatal(err)
	}
	target := ebtypes.Target{Id: aws.String("queue"), Arn: aws.String("arn:aws:sqs:eu-central-1:123456789012:announced")}
	if _, err := admin.PutTargets(t.Context(), &awsevents.PutTargetsInput{Rule: aws.String("all"), Targets: []ebtypes.Target{target}}); err != nil {
		t.Fatal(err)
	}
	return func() []eventbridge.Detail {
		t.Helper()
		got, err := queues.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, MaxNumberOfMessages: 10, VisibilityTimeout: 3600})
		if err != nil {
			t.Fatal(err)
		}
		var out []eventbridge.Detail
		for _, m := range got.Messages {
			var e struct{ Detail eventbridge.Detail }
			if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
				t.Fatal(err)
			}
			out = append(out, e.Detail)
		}
		return out
	}
}
