package eventbridge_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	managed = "orders/db-password"
	arn     = "arn:aws:secretsmanager:us-east-1:123456789012:secret:orders/db-password-a1B2c3"
)

// configured are the secrets of the tests by their paths.
func configured(path string) []secret.ID {
	switch path {
	case managed:
		return []secret.ID{"ORDERS_DB", "ORDERS_DB_WEST"}
	case "billing-key":
		return []secret.ID{"BILLING"}
	}
	return nil
}

// recorder notes what it was asked to reconcile.
type recorder struct {
	mu     sync.Mutex
	at     []secret.ID
	places []string
	fail   error
}

func (l *recorder) Reconcile(_ context.Context, id secret.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = append(l.at, id)
	return l.fail
}

func (l *recorder) ReconcilePath(_ context.Context, store, path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places = append(l.places, store+": "+path)
	return l.fail
}

func (l *recorder) reconciled() []secret.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.at)
	slices.Sort(out)
	return out
}

func newIntake(t testing.TB, l eventbridge.Reconciler, log *slog.Logger) *eventbridge.Intake {
	t.Helper()
	in, err := eventbridge.NewIntake(eventbridge.IntakeConfig{Reconciler: l, Secrets: configured, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// apiCall is the event of a call of the API, as CloudTrail gives it.
func apiCall(name, parameters, response string) string {
	return fmt.Sprintf(`{"version":"0","id":"a","detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager","account":"123456789012",
		"time":"2026-03-01T09:00:00Z","region":"us-east-1","resources":[],"detail":{"eventVersion":"1.08","eventSource":"secretsmanager.amazonaws.com",
		"eventName":%q,"awsRegion":"us-east-1","requestParameters":%s,"responseElements":%s,"eventType":"AwsApiCall"}}`, name, parameters, response)
}

// serviceEvent is what Secrets Manager says by itself of a rotation, where holds
// the id.
func serviceEvent(name, where string) string {
	return fmt.Sprintf(`{"version":"0","id":"b","detail-type":"AWS Service Event via CloudTrail","source":"aws.secretsmanager","account":"123456789012",
		"time":"2026-03-01T09:00:00Z","region":"us-east-1","resources":[],"detail":{"eventVersion":"1.08","userIdentity":{"accountId":"123456789012",
		"invokedBy":"secretsmanager.amazonaws.com"},"eventSource":"secretsmanager.amazonaws.com","eventName":%q,"requestParameters":null,
		"responseElements":null,%s,"eventType":"AwsServiceEvent"}}`, name, where)
}

const labelMoved = `{"version":"0","id":"c","detail-type":"Secret Label Updated","source":"aws.secretsmanager","account":"123456789012",
	"time":"2026-03-01T09:00:00Z","region":"us-east-1","resources":["` + arn + `"],
	"detail":{"name":"orders/db-password","labelUpdated":"AWSCURRENT","versionId":"a1b2c3d4-5678-90ab-cdef-EXAMPLE11111"}}`

func TestAnEventHasTheSecretsThatItNamesLookedAt(t *testing.T) {
	t.Parallel()
	both := []secret.ID{"ORDERS_DB", "ORDERS_DB_WEST"}
	for name, c := range map[string]struct {
		body string
		want []secret.ID
	}{
		"a value was put, by name":             {apiCall("PutSecretValue", `{"secretId":"orders/db-password","clientRequestToken":"x"}`, `null`), both},
		"a value was put, by ARN":              {apiCall("PutSecretValue", `{"secretId":"`+arn+`"}`, `null`), both},
		"a value was put, by an ARN without":   {apiCall("PutSecretValue", `{"secretId":"`+strings.TrimSuffix(arn, "-a1B2c3")+`"}`, `null`), both},
		"a label was moved":                    {apiCall("UpdateSecretVersionStage", `{"secretId":"orders/db-password","versionStage":"AWSCURRENT"}`, `{"arn":"`+arn+`"}`), both},
		"a label was moved, in the old form":   {apiCall("UpdateSecretVersionStage", `null`, `{"aRN":"`+arn+`"}`), both},
		"a secret was deleted":                 {apiCall("DeleteSecret", `{"secretId":"billing-key","recoveryWindowInDays":7}`, `{"arn":"x"}`), []secret.ID{"BILLING"}},
		"a secret was tagged":                  {apiCall("TagResource", `{"secretId":"billing-key","tags":[{"key":"a","value":"b"}]}`, `null`), []secret.ID{"BILLING"}},
		"a rotation started":                   {serviceEvent("RotationStarted", `"additionalEventData":{"SecretId":"`+arn+`"}`), both},
		"a rotation succeeded":                 {serviceEvent("RotationSucceeded", `"additionalEventData":{"SecretId":"`+arn+`"}`), both},
		"a rotation succeeded, in another key": {serviceEvent("RotationSucceeded", `"serviceEventDetails":{"secretId":"`+arn+`"}`), both},
		"a rotation failed":                    {serviceEvent("RotationFailed", `"errorMessage":"Error when executing lambda","additionalEventData":{"SecretId":"`+arn+`"}`), both},
		"a rotation was abandoned":             {serviceEvent("RotationAbandoned", `"additionalEventData":{"SecretId":"`+arn+`"}`), both},
		"a label was moved, without a trail":   {labelMoved, both},
		"a read is no reason to reconcile":     {apiCall("DescribeSecret", `{"secretId":"orders/db-password"}`, `null`), nil},
		"nor is a read":                        {apiCall("GetSecretValue", `{"secretId":"orders/db-password"}`, `null`), nil},
		"a secret of another program":          {apiCall("PutSecretValue", `{"secretId":"theirs"}`, `null`), nil},
		"another service":                      {strings.ReplaceAll(apiCall("PutSecretValue", `{"secretId":"orders/db-password"}`, `null`), "secretsmanager", "kms"), nil},
		"a detail that is a list of surprises": {strings.Replace(labelMoved, `"detail":{`, `"detail":{"requestParameters":[1,{"a":null}],"responseElements":7,`, 1), both},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l recorder
			if err := newIntake(t, &l, slog.New(slog.DiscardHandler)).Handle(t.Context(), []byte(c.body)); err != nil {
				t.Fatal(err)
			}
			if got := l.reconciled(); !slices.Equal(got, c.want) {
				t.Errorf("reconciled %v, want %v", got, c.want)
			}
		})
	}
}

func TestWhatIsNoEventIsRejectedWithoutItsContent(t *testing.T) {
	t.Parallel()
	const canary = "canary-4711"
	for name, body := range map[string]string{
		"nothing":            "",
		"no JSON":            canary,
		"half of an event":   labelMoved[:200] + canary,
		"a list":             `["` + canary + `"]`,
		"a wrong type":       `{"source":{"` + canary + `":1}}`,
		"an oversized event": `{"source":"aws.secretsmanager","x":"` + strings.Repeat(canary, 30_000) + `"}`,
		"no name":            apiCall("PutSecretValue", `{"secretString":"`+canary+`"}`, `null`),
		"a name as a number": apiCall("PutSecretValue", `{"secretId":4711}`, `{"`+canary+`":{}}`),
		"a name without end": apiCall("PutSecretValue", `{"secretId":"`+strings.Repeat(canary, 500)+`"}`, `null`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l recorder
			var out logs
			err := newIntake(t, &l, slog.New(slog.NewTextHandler(&out, nil))).Handle(t.Context(), []byte(body))
			if !events.IsPermanent(err) {
				t.Errorf("error %v, want one that is permanent", err)
			}
			if got := l.reconciled(); got != nil {
				t.Errorf("reconciled %v", got)
			}
			if !strings.Contains(out.String(), "eventbridge.rejected") {
				t.Error("the log does not say so")
			}
			if strings.Contains(out.String()+err.Error(), canary) {
				t.Errorf("the log or the error holds what was sent: %s", out.String())
			}
		})
	}
}

// TestAnEventMayBeAboutADiscoveredSecret holds at which places it is reconciled,
// and that an event that names many costs no more than another.
func TestAnEventMayBeAboutADiscoveredSecret(t *testing.T) {
	t.Parallel()
	const other = "arn:aws:secretsmanager:us-east-1:123456789012:secret:team/key-a1B2c3"
	many := `"x"`
	for i := range 50 {
		many += fmt.Sprintf(`,"team/%d"`, i)
	}
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"by name":              {apiCall("TagResource", `{"secretId":"team/key"}`, `null`), []string{"east: team/key", "west: team/key"}},
		"by ARN":               {apiCall("PutSecretValue", `{"secretId":"`+other+`"}`, `null`), []string{"east: team/key", "east: team/key-a1B2c3", "west: team/key", "west: team/key-a1B2c3"}},
		"elsewhere":            {apiCall("PutSecretValue", `{"secretId":"theirs"}`, `null`), nil},
		"what names no secret": {apiCall("PutSecretValue", `{"secretId":"team/a\u0001key"}`, `null`), nil},
		"many": {strings.Replace(labelMoved, `"resources":["`+arn+`"]`, `"resources":[`+strings.Replace(many, `"x",`, "", 1)+`]`, 1),
			[]string{"east: team/0", "east: team/1", "west: team/0", "west: team/1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l recorder
			in, err := eventbridge.NewIntake(eventbridge.IntakeConfig{
				Reconciler: &l, Secrets: configured, Logger: slog.New(slog.DiscardHandler),
				Discovering: func(path string) []string {
					if strings.HasPrefix(path, "team/") {
						return []string{"east", "west"}
					}
					return nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := in.Handle(t.Context(), []byte(c.body)); err != nil {
				t.Fatal(err)
			}
			slices.Sort(l.places)
			if !slices.Equal(l.places, c.want) {
				t.Errorf("reconciled %v, want %v", l.places, c.want)
			}
			l.fail = errors.New("store unavailable")
			if err := in.Handle(t.Context(), []byte(c.body)); c.want != nil && (err == nil || events.IsPermanent(err)) {
				t.Errorf("error %v, want one after which the event comes back", err)
			}
		})
	}
}

func TestALookThatFailsComesBack(t *testing.T) {
	t.Parallel()
	l := recorder{fail: errors.New("store unavailable")}
	err := newIntake(t, &l, slog.New(slog.DiscardHandler)).Handle(t.Context(), []byte(labelMoved))
	if err == nil || events.IsPermanent(err) {
		t.Errorf("error %v, want one after which the event comes back", err)
	}
	if got := l.reconciled(); len(got) != 2 {
		t.Errorf("reconciled %v, want both although the first failed", got)
	}
}

func FuzzHandle(f *testing.F) {
	for _, body := range []string{
		labelMoved, apiCall("PutSecretValue", `{"secretId":"orders/db-password"}`, `{"arn":"`+arn+`"}`),
		serviceEvent("RotationFailed", `"additionalEventData":{"SecretId":"`+arn+`"}`), `{"detail":null}`, `{"resources":null,"detail":{"name":"arn:::::secret:"}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var l recorder
		var out logs
		err := newIntake(t, &l, slog.New(slog.NewTextHandler(&out, nil))).Handle(t.Context(), body)
		if err != nil && !events.IsPermanent(err) {
			t.Fatalf("%v would come back for ever", err)
		}
		if len(l.places) > 0 {
			t.Fatalf("reconciled %v, where nothing is discovered", l.places)
		}
		for _, id := range l.reconciled() {
			if id != "ORDERS_DB" && id != "ORDERS_DB_WEST" && id != "BILLING" {
				t.Fatalf("reconciled %s, which is not configured", id)
			}
		}
		if err != nil && len(l.reconciled()) > 0 {
			t.Fatal("reconciled because of what was rejected")
		}
		if len(out.String()) > 1024 {
			t.Fatal("the log grows with what is sent")
		}
	})
}
