package integration

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/tradepulse/rotator/internal/serverstest"
)

// TestLambdaPolicyIsEnoughAndNotMore has the function do all that it does of
// itself under the policy of its template, then without each of the actions.
func TestLambdaPolicyIsEnoughAndNotMore(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../deployments/cloudformation/aws-lambda.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var template map[string]any
	if err := yaml.Unmarshal(text, &template); err != nil {
		t.Fatal(err)
	}
	granted := actionsOf(template)
	// What Lambda itself does with the role of a function, and the key of secrets
	// under a key of one's own, no emulator asks for.
	others := []string{"logs:CreateLogStream", "logs:PutLogEvents", "sqs:SendMessage", "kms:Decrypt", "kms:GenerateDataKey"}
	for _, a := range others {
		if !slices.Contains(granted, a) {
			t.Errorf("the template does not allow %s", a)
		}
	}
	granted = slices.DeleteFunc(granted, func(a string) bool { return slices.Contains(others, a) || strings.HasPrefix(a, "sts:") })
	if len(granted) < 6 {
		t.Fatalf("the template allows %v", granted)
	}

	h := newHosted(t, "eventbridge: {bus: default, aws: {endpoint: ENDPOINT}}\nlambda: {announce: both, credentials: rotator/bus}\n")
	credentials, err := json.Marshal(map[string]string{"SIGNING_KEY": h.key})
	if err != nil {
		t.Fatal(err)
	}
	h.make("rotator/bus", string(credentials))
	moto := &serverstest.Moto{URL: h.backend.URL}
	for _, lacking := range append([]string{""}, granted...) {
		name := "allowed/" + strings.ReplaceAll(lacking, ":", "/")
		key := moto.User(t, "lacks"+strings.ReplaceAll(lacking, ":", "-"), policyWithout(t, granted, lacking))
		arn := h.make(name, firstValue)
		token := h.begin(arn, true)
		fn := serverstest.NewLambda(t, h.bootstrap(), "AWS_ACCESS_KEY_ID="+key.ID, "AWS_SECRET_ACCESS_KEY="+key.Secret, "AWS_SESSION_TOKEN=")
		h.fn = fn
		moto.Enforce(t)
		var failed error
		for _, step := range lambdaSteps {
			if failed = h.step(step, arn, token); failed != nil {
				break
			}
		}
		moto.Trust(t)
		lost := strings.Contains(fn.Output(), "lambda.announcement_lost")
		switch {
		case lacking == "" && (failed != nil || lost):
			t.Errorf("the policy is not enough: %v\n%s", failed, fn.Output())
		case lacking == "events:PutEvents" && (failed != nil || !lost):
			t.Errorf("without %s: %v, and the announcement is lost: %t", lacking, failed, lost)
		case lacking != "" && lacking != "events:PutEvents" && (failed == nil || !strings.Contains(failed.Error(), "access denied")):
			t.Errorf("without %s: %v, want access denied", lacking, failed)
		}
	}
}

// actionsOf returns the actions of every statement in a template.
func actionsOf(v any) []string {
	var out []string
	switch v := v.(type) {
	case map[string]any:
		if v["Effect"] == "Allow" && v["Principal"] == nil {
			switch a := v["Action"].(type) {
			case string:
				out = append(out, a)
			case []any:
				for _, one := range a {
					if s, ok := one.(string); ok {
						out = append(out, s)
					}
				}
			}
		}
		for _, below := range v {
			out = append(out, actionsOf(below)...)
		}
	case []any:
		for _, below := range v {
			out = append(out, actionsOf(below)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// policyWithout returns a policy that allows all of the actions but one. moto
// checks actions and knows no resource but all of them.
func policyWithout(t *testing.T, actions []string, lacking string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Resource": "*", "Action": slices.DeleteFunc(slices.Clone(actions), func(a string) bool { return a == lacking }),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
