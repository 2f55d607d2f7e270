package eventbridge_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/events"
)

const role = "arn:aws:iam::123456789012:role/reporting"

// The identities of callers, as CloudTrail gives them.
const (
	ofSession = `{"type":"AssumedRole","principalId":"AROAEXAMPLE:job-7","arn":"arn:aws:sts::123456789012:assumed-role/reporting/job-7","accountId":"123456789012",
		"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::123456789012:role/batch/reporting","userName":"reporting"},
		"attributes":{"creationDate":"2026-03-01T08:00:00Z","mfaAuthenticated":"false"}}}`
	ofSessionAlone = `{"type":"AssumedRole","arn":"arn:aws:sts::123456789012:assumed-role/reporting/job-7"}`
	ofUser         = `{"type":"IAMUser","arn":"arn:aws:iam::123456789012:user/ops/alice","userName":"alice"}`
	ofService      = `{"type":"AWSService","invokedBy":"rds.amazonaws.com"}`
	ofAccount      = `{"type":"AWSAccount","principalId":"AIDAEXAMPLE","accountId":"210987654321"}`
)

// readCall is the event of a call that reads, as CloudTrail gives it.
func readCall(name, caller, parameters, rest string) string {
	return fmt.Sprintf(`{"version":"0","id":"r","detail-type":"AWS API Call via CloudTrail","source":"aws.secretsmanager","account":"123456789012",
		"time":"2026-03-01T09:00:00Z","region":"us-east-1","resources":[],"detail":{"eventVersion":"1.09","userIdentity":%s,"eventTime":"2026-03-01T08:59:58Z",
		"eventSource":"secretsmanager.amazonaws.com","eventName":%q,"awsRegion":"us-east-1","sourceIPAddress":"192.0.2.7","userAgent":"aws-sdk-go-v2/1",
		"requestParameters":%s,"responseElements":null,"readOnly":true,"eventType":"AwsApiCall","managementEvent":true,"eventCategory":"Management"%s}}`, caller, name, parameters, rest)
}

// reads collects what an Intake hands on.
type reads struct {
	all  []eventbridge.Read
	fail error
}

func (r *reads) add(_ context.Context, one eventbridge.Read) error {
	r.all = append(r.all, one)
	return r.fail
}

func newReadIntake(t testing.TB, l eventbridge.Reconciler, r *reads) *eventbridge.Intake {
	t.Helper()
	in, err := eventbridge.NewIntake(eventbridge.IntakeConfig{Reconciler: l, Secrets: configured, Reads: r.add, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestAReadNamesItsReader(t *testing.T) {
	t.Parallel()
	byID := `{"secretId":"orders/db-password"}`
	for name, c := range map[string]struct {
		body, identity, version, stage, address string
		paths                                   []string
	}{
		"by a session of a role":            {readCall("GetSecretValue", ofSession, byID, ""), role, "", "AWSCURRENT", "192.0.2.7", []string{managed}},
		"by a session without its role":     {readCall("GetSecretValue", ofSessionAlone, byID, ""), role, "", "AWSCURRENT", "192.0.2.7", []string{managed}},
		"by a user":                         {readCall("GetSecretValue", ofUser, byID, ""), "arn:aws:iam::123456789012:user/ops/alice", "", "AWSCURRENT", "192.0.2.7", []string{managed}},
		"by a service":                      {strings.Replace(readCall("GetSecretValue", ofService, byID, ""), "192.0.2.7", "rds.amazonaws.com", 1), "rds.amazonaws.com", "", "AWSCURRENT", "rds.amazonaws.com", []string{managed}},
		"from another account":              {readCall("GetSecretValue", ofAccount, byID, ""), "AIDAEXAMPLE", "", "AWSCURRENT", "192.0.2.7", []string{managed}},
		"by a caller without a name":        {readCall("GetSecretValue", `{}`, byID, ""), eventbridge.Nameless, "", "AWSCURRENT", "192.0.2.7", []string{managed}},
		"of a stage":                        {readCall("GetSecretValue", ofSession, `{"secretId":"orders/db-password","versionStage":"AWSPREVIOUS"}`, ""), role, "", "AWSPREVIOUS", "192.0.2.7", []string{managed}},
		"of a version, by ARN":              {readCall("GetSecretValue", ofSession, `{"secretId":"`+arn+`","versionId":"7DC59E8B-63AE-454D-B7A4-8A7D64AB05E7"}`, ""), role, "7DC59E8B-63AE-454D-B7A4-8A7D64AB05E7", "", "192.0.2.7", []string{arn, managed + "-a1B2c3", managed}},
		"of a list":                         {readCall("BatchGetSecretValue", ofSession, `{"secretIdList":["orders/db-password","billing-key"]}`, ""), role, "", "AWSCURRENT", "192.0.2.7", []string{managed, "billing-key"}},
		"of filters, which names no secret": {readCall("BatchGetSecretValue", ofSession, `{"filters":[{"key":"tag-key","values":["!none"]}]}`, ""), "", "", "", "", nil},
		"that was refused":                  {readCall("GetSecretValue", ofSession, byID, `,"errorCode":"AccessDenied","errorMessage":"no"`), "", "", "", "", nil},
		"of metadata":                       {readCall("DescribeSecret", ofSession, byID, ""), "", "", "", "", nil},
		"of another service":                {strings.ReplaceAll(readCall("GetSecretValue", ofSession, byID, ""), "secretsmanager", "ssm"), "", "", "", "", nil},
		"with a torn address and version":   {strings.Replace(readCall("GetSecretValue", ofSession, `{"secretId":"orders/db-password","versionId":"a\nb"}`, ""), "192.0.2.7", "<script>", 1), role, "", "", "", []string{managed}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var l recorder
			var r reads
			if err := newReadIntake(t, &l, &r).Handle(t.Context(), []byte(c.body)); err != nil {
				t.Fatal(err)
			}
			if len(l.reconciled()) > 0 {
				t.Errorf("a read had %v reconciled", l.reconciled())
			}
			if c.paths == nil {
				if len(r.all) > 0 {
					t.Errorf("got %+v, want no read", r.all)
				}
				return
			}
			if len(r.all) != 1 {
				t.Fatalf("got %+v, want one read", r.all)
			}
			got := r.all[0]
			if got.Identity != c.identity || string(got.VersionID) != c.version || got.Stage != c.stage || got.Address != c.address || !slices.Equal(got.Paths, c.paths) || !got.At.Equal(t0.Add(-2*time.Second)) {
				t.Errorf("got %+v, want %+v", got, c)
			}
		})
	}
}

// TestAReadThatWasNotRecordedComesBack: or an unknown reader would be lost with the
// bus.
func TestAReadThatWasNotRecordedComesBack(t *testing.T) {
	t.Parallel()
	r := reads{fail: errors.New("no bus")}
	err := newReadIntake(t, &recorder{}, &r).Handle(t.Context(), []byte(readCall("GetSecretValue", ofSession, `{"secretId":"orders/db-password"}`, "")))
	if err == nil || events.IsPermanent(err) {
		t.Errorf("Handle() = %v, want an error that is not permanent", err)
	}
}

// FuzzReads: whatever is sent, a read is bounded and can be recorded, and has nothing
// reconciled.
func FuzzReads(f *testing.F) {
	for _, caller := range []string{ofSession, ofUser, ofService, ofAccount, `null`, `[]`} {
		f.Add([]byte(readCall("GetSecretValue", caller, `{"secretId":"`+arn+`","versionStage":"x"}`, "")))
		f.Add([]byte(strings.Replace(readCall("GetSecretValue", caller, `{"secretId":"a"}`, ""), "192.0.2.7", "fe80::1%"+strings.Repeat("z", 200), 1)))
		f.Add([]byte(readCall("BatchGetSecretValue", caller, `{"secretIdList":["a","b"]}`, "")))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var l recorder
		var r reads
		if err := newReadIntake(t, &l, &r).Handle(t.Context(), body); err != nil && !events.IsPermanent(err) {
			t.Fatalf("%v would come back for ever", err)
		}
		for _, one := range r.all {
			if one.Identity == "" || len(one.Identity) > 512 || len(one.Stage) > 512 || len(one.Address) > 128 || len(one.Paths) == 0 || len(one.Paths) > 63 {
				t.Fatalf("%+v is not bounded", one)
			}
			if one.VersionID != "" && one.VersionID.Validate() != nil {
				t.Fatalf("the version of %+v is malformed", one)
			}
			if len(l.reconciled()) > 0 {
				t.Fatal("a read had a secret reconciled")
			}
		}
	})
}
