package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
)

// readByRole is the detail of a read by a session of a role, as CloudTrail gives it.
func readByRole(role, arn string) string {
	return fmt.Sprintf(`{"eventVersion":"1.09","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:s","arn":"arn:aws:sts::123456789012:assumed-role/%s/s",
		"accountId":"123456789012","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::123456789012:role/batch/%s","userName":%q}}},
		"eventTime":"2026-03-01T14:02:00Z","eventSource":"secretsmanager.amazonaws.com","eventName":"GetSecretValue","awsRegion":"eu-central-1",
		"sourceIPAddress":"192.0.2.7","requestParameters":{"secretId":%q},"responseElements":null,"readOnly":true,"eventType":"AwsApiCall"}`, role, role, role, arn)
}

// TestReadersFromCloudTrail: a read in AWS reaches status by the rule of the document,
// and is explained by the configuration alone.
func TestReadersFromCloudTrail(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.rule("default", "rotator", `"GetSecretValue"`)
	made, err := a.secrets.CreateSecret(t.Context(), &sm.CreateSecretInput{Name: aws.String(orders), SecretString: aws.String(byHand)})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/examples/eventbridge.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg := filepath.Join(t.TempDir(), "rotator.yaml")
	if err := os.WriteFile(cfg, append(text, "\nreaders: {ignore: [\"arn:aws:iam::123456789012:role/backup\"]}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	r := reader{t: t, env: []string{
		"AWS_ENDPOINT_URL=" + a.URL, "AWS_REGION=" + emulated, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
		"ROTATOR_AWS_EVENTS_QUEUE=" + a.hints, "STATE_DIRECTORY=" + t.TempDir(), "ROTATOR_NODE_LISTEN=" + freeAddress(t), "ROTATOR_HTTP_LISTEN=" + freeAddress(t),
	}}
	r.run([]string{"rotator", "run", "--config", cfg})
	for _, role := range []string{"backup", "reporting"} {
		a.happens("AWS API Call via CloudTrail", readByRole(role, *made.ARN))
	}
	status := func() inspect.Secret {
		t.Helper()
		p := r.start([]string{"rotator", "status", "ORDERS_DB_PASSWORD", "--json", "--config", cfg})
		p.wait(t)
		var all []inspect.Secret
		text := p.out.String() // warnings come first
		if _, list, _ := strings.Cut(text, "["); json.Unmarshal([]byte("["+list), &all) != nil || len(all) != 1 {
			t.Fatalf("status prints\n%s", text)
		}
		return all[0]
	}
	var s inspect.Secret
	waittest.Until(t, "status names the reader", func() error {
		if s = status(); s.SafeToRevoke == nil || len(s.SafeToRevoke.UnknownReaders) == 0 {
			return fmt.Errorf("status: %+v, error %s", s.SafeToRevoke, s.Error)
		}
		return nil
	})
	a.drained()
	s = status()
	got := s.SafeToRevoke.UnknownReaders
	if len(got) != 1 || got[0].Identity != "arn:aws:iam::123456789012:role/reporting" || got[0].Stage != "AWSCURRENT" || got[0].Address != "192.0.2.7" || got[0].LastSeen.IsZero() {
		t.Errorf("unknown readers %+v, want the role reporting", got)
	}
	if s.SafeToRevoke.Answer == rollout.AnswerYes {
		t.Error("safe to revoke: yes, although a reader reports nothing")
	}
	if len(s.Findings) != 1 || s.Findings[0].Code != inspect.CodeUnknownReader {
		t.Errorf("findings %v", s.Findings)
	}
	if code := r.node.drain(t); code != 0 {
		t.Errorf("drain: exit %d:\n%s", code, r.node.out)
	}
}
