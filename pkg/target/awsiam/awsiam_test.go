package awsiam_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/awsiam"
	"github.com/tradepulse/rotator/pkg/target/targettest"
)

const id secret.ID = "DEPLOY KEY"

// actions are the rights of the admin, in the order in which a rotation misses them.
var actions = []string{"GetUser", "ListAccessKeys", "UpdateAccessKey", "DeleteAccessKey", "UntagUser", "CreateAccessKey", "TagUser", "GetAccessKeyLastUsed"}

// site is a server that checks keys, signatures and policies, and its owner.
type site struct {
	url  string
	root *iam.Client
}

func newSite(t *testing.T) *site {
	t.Helper()
	m := serverstest.StartMoto(t)
	root := m.User(t, "root", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	m.Enforce(t)
	return &site{m.URL, iam.NewFromConfig(awsConfig(root.ID, root.Secret, nil), func(o *iam.Options) { o.BaseEndpoint = &m.URL })}
}

func awsConfig(key, secretKey string, wire http.RoundTripper) aws.Config {
	return aws.Config{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(key, secretKey, ""), RetryMaxAttempts: 1,
		HTTPClient: &http.Client{Transport: wire},
	}
}

// world is a user, its admin, and the wire between them.
type world struct {
	*site
	user, admin string
	versions    *targettest.Versions
	cfg         awsiam.Config
	wire        *wire
	mu          sync.Mutex
	without     map[string]bool
}

var worlds atomic.Int64

func newWorld(t *testing.T, s *site, account string, versions *targettest.Versions) *world {
	t.Helper()
	n := worlds.Add(1)
	w := &world{site: s, user: fmt.Sprintf("%s_%d", account, n), admin: fmt.Sprintf("admin_%d", n), versions: versions, without: map[string]bool{}, wire: &wire{}}
	for _, name := range []string{w.user, w.admin} {
		if _, err := s.root.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name}); err != nil {
			t.Fatal(err)
		}
	}
	w.grant(t)
	k := w.key(t, w.admin)
	w.cfg = awsiam.Config{
		AWS: awsConfig(*k.AccessKeyId, *k.SecretAccessKey, w.wire), Endpoint: s.url, User: w.user, Secret: id, Lag: 2 * time.Second, UseLag: 4 * time.Hour, Read: versions.Read,
	}
	return w
}

// key makes a key past the target.
func (w *world) key(t *testing.T, user string) *types.AccessKey {
	t.Helper()
	out, err := w.root.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &user})
	if err != nil {
		t.Fatal(err)
	}
	return out.AccessKey
}

// grant gives the admin the rights that it is not to miss.
func (w *world) grant(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	allowed := []string{"iam:None"}
	for _, a := range actions {
		if !w.without[a] {
			allowed = append(allowed, "iam:"+a)
		}
	}
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow", "Action": allowed, "Resource": "*"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.root.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &w.admin, PolicyName: aws.String("p"), PolicyDocument: aws.String(string(policy))}); err != nil {
		t.Fatal(err)
	}
}

func (w *world) right(action string, needs func(context.Context, *targettest.Harness, target.Ref) error) targettest.Right {
	set := func(missing bool) func(*testing.T) {
		return func(t *testing.T) {
			w.mu.Lock()
			w.without[action] = missing
			w.mu.Unlock()
			w.grant(t)
		}
	}
	return targettest.Right{Name: "iam:" + action, Take: set(true), Give: set(false), Needs: needs}
}

// rights are those that a check can name: making a key cannot be tried.
func (w *world) rights() []targettest.Right {
	var out []targettest.Right
	for _, a := range actions {
		switch a {
		case "CreateAccessKey":
		case "GetAccessKeyLastUsed":
			out = append(out, w.right(a, func(ctx context.Context, h *targettest.Harness, r target.Ref) error {
				if err := targettest.Apply(ctx, h, r); err != nil {
					return err
				}
				r.Version = "needs"
				return targettest.InUse(ctx, h, r)
			}))
		default:
			out = append(out, w.right(a, targettest.Apply))
		}
	}
	return out
}

func (w *world) target(t *testing.T, change func(*awsiam.Config)) *awsiam.Target {
	t.Helper()
	cfg := w.cfg
	if change != nil {
		change(&cfg)
	}
	tg, err := awsiam.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

func (w *world) harness(t *testing.T) *targettest.Harness {
	t.Helper()
	return &targettest.Harness{
		Spec: secret.Spec{ID: id, Store: "main", Policy: &secret.Policy{Field: awsiam.FieldSecret, Classes: []secret.Class{}}}, Target: w.target(t, nil),
		Login: w.login, LoseAnswers: w.wire.loseAnswer, Rights: w.rights(),
		Unreachable: func(t *testing.T) target.Target {
			return w.target(t, func(c *awsiam.Config) { c.Endpoint = fmt.Sprintf("http://127.0.0.1:%d", serverstest.FreePort(t)) })
		},
	}
}

// login is what a service does with a key. The server does not mind that a key is inactive,
// so that is asked for.
func (w *world) login(ctx context.Context, v secret.Value) (targettest.Session, error) {
	k, err := awsiam.Parse(v)
	if err != nil {
		return nil, err
	}
	who, err := sts.NewFromConfig(awsConfig(k.ID, k.Secret, nil), func(o *sts.Options) { o.BaseEndpoint = &w.url }).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, err
	}
	keys, err := w.root.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &w.user})
	if err != nil {
		return nil, err
	}
	active := slices.ContainsFunc(keys.AccessKeyMetadata, func(m types.AccessKeyMetadata) bool {
		return *m.AccessKeyId == k.ID && m.Status == types.StatusTypeActive
	})
	if !active || !strings.HasSuffix(*who.Arn, "/"+w.user) {
		return nil, fmt.Errorf("key %s of %s: active %t", k.ID, *who.Arn, active)
	}
	return session{}, nil
}

// session stands for what uses a key: IAM knows no sessions of one.
type session struct{}

func (session) Address() string             { return "" }
func (session) Use(context.Context) error   { return nil }
func (session) Begin(context.Context) error { return nil }
func (session) Close()                      {}

// wire carries the requests of a target.
type wire struct {
	mu sync.Mutex
	// filter changes a request, and says whether its answer is lost.
	filter func(*http.Request, string) (lost bool)
}

var errLost = errors.New("the answer was lost")

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	w.mu.Lock()
	lost := w.filter != nil && w.filter(r, string(body))
	w.mu.Unlock()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if lost {
		_ = resp.Body.Close()
		return nil, errLost
	}
	return likeAWS(resp)
}

var refusal = regexp.MustCompile(`(?s)<Code>.*</Message>`)

// likeAWS puts a refusal of the server into the document in which IAM and STS have theirs.
// The server has that of EC2.
func likeAWS(resp *http.Response) (*http.Response, error) {
	if resp.StatusCode != http.StatusForbidden {
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	text := fmt.Sprintf("<ErrorResponse><Error><Type>Sender</Type>%s</Error></ErrorResponse>", refusal.Find(body))
	resp.Body, resp.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	return resp, err
}

func (w *wire) set(filter func(*http.Request, string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.filter = filter
}

// loseAnswer loses the answer to the next call that changes something.
func (w *wire) loseAnswer() { w.lose("Create", "Update", "Delete", "Tag", "Untag") }

// lose loses the answer to the next of some calls.
func (w *wire) lose(actions ...string) {
	done := false
	w.set(func(_ *http.Request, body string) bool {
		hit := slices.ContainsFunc(actions, func(a string) bool { return strings.Contains(body, "Action="+a) })
		if done || !hit {
			return false
		}
		done = true
		return true
	})
}

// TestSuite runs the suite.
func TestSuite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	t.Run("keys", func(t *testing.T) {
		targettest.RunIssued(t, func(t *testing.T, account string, versions *targettest.Versions) *targettest.Harness {
			return newWorld(t, s, account, versions).harness(t)
		})
	})
}
