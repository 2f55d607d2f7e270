package integration

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestLambdaHostileRequests sends what is no request, each with a value in it,
// and searches all that the function says and logs.
func TestLambdaHostileRequests(t *testing.T) {
	t.Parallel()
	const canary = "QXZJWKVqxzjwkvQXZJWKVqxzjwkvQXZJWKVqxzjwkv"
	h := newHosted(t, "")
	arn := h.make("hostile", canary)
	token := h.begin(arn, true)
	leak := regexp.MustCompile(`[QXZJWKVqxzjwkv]{12}|` + rotationToken)
	event := func(over map[string]any) string {
		e := map[string]any{"Step": "createSecret", "SecretId": arn, "ClientRequestToken": string(token), "RotationToken": canary}
		maps.Copy(e, over)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, c := range map[string]struct{ request, want string }{
		"no JSON":                     {canary, "no JSON object"},
		"no object":                   {`["` + canary + `"]`, "no JSON object"},
		"null":                        {`null`, "no JSON object"},
		"nothing known":               {`{"` + canary + `":1}`, "neither"},
		"too large":                   {`{"action":"` + strings.Repeat(canary, 8000) + `"}`, "the limit is"},
		"deep":                        {strings.Repeat(`{"action":`, 20000), "no JSON object"},
		"a step that is none":         {event(map[string]any{"Step": canary}), "Step is none of"},
		"a step that is a number":     {event(map[string]any{"Step": 7}), "Step is no string"},
		"a step that is null":         {event(map[string]any{"Step": nil}), "Step is no string"},
		"no secret":                   {event(map[string]any{"SecretId": ""}), "SecretId is no ARN"},
		"a secret with spaces":        {event(map[string]any{"SecretId": canary + " " + canary}), "SecretId is no ARN"},
		"an ARN of another service":   {event(map[string]any{"SecretId": "arn:aws:s3:::" + canary}), "SecretId is no ARN"},
		"an ARN of another region":    {event(map[string]any{"SecretId": "arn:aws:secretsmanager:us-east-1:123456789012:secret:hostile-AbCdEf"}), ""},
		"a name in place of the ARN":  {event(map[string]any{"SecretId": canary}), "SecretId is no ARN"},
		"a short token":               {event(map[string]any{"ClientRequestToken": "QXZJWKV"}), "ClientRequestToken has not"},
		"a token with a line break":   {event(map[string]any{"ClientRequestToken": canary + "\n"}), "ClientRequestToken has not"},
		"a long rotation token":       {event(map[string]any{"RotationToken": strings.Repeat(canary, 50)}), "RotationToken is longer"},
		"a step and a command":        {event(map[string]any{"action": "rotate"}), "neither"},
		"a command that is none":      {`{"action":"` + canary + `"}`, "action is none of"},
		"a command with more":         {`{"action":"plan","` + canary + `":1}`, "no other"},
		"a rotation of nothing":       {`{"action":"rotate"}`, "takes one secret_id"},
		"an event that is none":       {`{"detail-type":"x","source":7,"detail":{"v":"` + canary + `"}}`, "no JSON of EventBridge"},
		"a secret id that is strange": {`{"action":"status","secret_ids":["` + canary + `\t` + canary + `"]}`, "malformed"},
	} {
		answer, err := h.fn.Invoke(c.request, fnTimeout)
		var refused serverstest.FunctionError
		if !errors.As(err, &refused) || !strings.Contains(refused.Message, c.want) || strings.Contains(c.want, " is no") && refused.Type != "InvalidRequest" {
			t.Errorf("%s: %q, %v; want %q", name, answer, err, c.want)
		}
		if err != nil && leak.MatchString(err.Error()) {
			t.Errorf("%s: the error holds a value", name)
		}
	}
	if n := h.fn.Starts(); n != 1 {
		t.Errorf("it took %d processes: something ended one", n)
	}
	if !strings.Contains(h.fn.Output(), `"msg":"lambda.event_failed"`) {
		t.Error("the log does not say that an event failed")
	}
	if err := h.drive(arn, token); err != nil {
		t.Fatal(err)
	}
	out, err := h.sm.GetSecretValue(t.Context(), &sm.GetSecretValueInput{SecretId: &arn})
	if err != nil {
		t.Fatal(err)
	}
	if leak.MatchString(h.fn.Output()) || strings.Contains(h.fn.Output(), aws.ToString(out.SecretString)) {
		t.Error("the output holds a value")
	}
}

// TestLambdaCommands invokes the function directly.
func TestLambdaCommands(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "", secret.Spec{ID: "COMMANDED", Store: "embedded", Path: "commanded"},
		secret.Spec{ID: "FOREIGN", Store: "embedded", Path: "foreign", Strategy: secret.StrategyExternal})
	arn := h.make("commanded", firstValue)
	from := h.current(arn)
	for _, name := range []string{"COMMANDED", arn, "commanded"} {
		var got struct {
			ID   secret.ID `json:"secret_id"`
			From string    `json:"previous_version_id"`
			To   string    `json:"version_id"`
		}
		h.ask(t, `{"action":"rotate","secret_id":"`+name+`"}`, &got)
		if got.ID != "COMMANDED" || got.From != from || got.To != h.current(arn) || got.To == from {
			t.Errorf("rotate %s: %+v, was %s", name, got, from)
		}
		if n := countVersion(logOf(t, h.nc, events.TypeRotated)["COMMANDED"], secret.VersionID(got.To)); n != 1 {
			t.Errorf("rotate %s: announced %d times", name, n)
		}
		from = got.To
	}
	foreign := h.make("foreign", firstValue)
	was := h.current(foreign)
	if _, err := h.fn.Invoke(`{"action":"rotate","secret_id":"FOREIGN"}`, fnTimeout); err == nil || !strings.Contains(err.Error(), "rotate-secret") || h.current(foreign) != was {
		t.Errorf("rotate a secret of another function: %v, want to be told how", err)
	}
	unlisted := h.make("unlisted", firstValue)
	was = h.current(unlisted)
	for _, name := range []string{"unlisted", unlisted} {
		if _, err := h.fn.Invoke(`{"action":"rotate","secret_id":"`+name+`"}`, fnTimeout); err == nil || !strings.Contains(err.Error(), "lambda.allow_unlisted") || h.current(unlisted) != was {
			t.Errorf("rotate %s, which the configuration does not list: %v", name, err)
		}
	}
	for _, action := range []string{"plan", "status"} {
		var all []struct {
			ID      secret.ID `json:"secret_id"`
			Version string    `json:"version_id"`
			Rollout string    `json:"rollout"`
		}
		h.ask(t, `{"action":"`+action+`"}`, &all)
		if len(all) != 2 || all[0].ID != "COMMANDED" || all[0].Version != from || (all[0].Rollout != "") != (action == "status") {
			t.Errorf("%s: %+v", action, all)
		}
	}
}

func (h *hosted) ask(t *testing.T, command string, answer any) {
	t.Helper()
	text, err := h.fn.Invoke(command, fnTimeout)
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, h.fn.Output())
	}
	if err := json.Unmarshal([]byte(text), answer); err != nil {
		t.Fatalf("%s: %v: %s", command, err, text)
	}
}
