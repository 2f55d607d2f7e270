package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestLambdaAnnouncesOnEventBridge holds where a rotation is announced, by what
// is configured and can be reached.
func TestLambdaAnnouncesOnEventBridge(t *testing.T) {
	t.Parallel()
	const bus = "eventbridge: {bus: default, aws: {endpoint: ENDPOINT}}\n"
	const nowhere = "nats: {url: 'nats://127.0.0.1:1'}\n"
	for name, c := range map[string]struct {
		config         string
		onNATS, onAWS  int
		lost, finishes int
	}{
		"NATS alone":                      {"", 1, 0, 0, 1},
		"NATS before EventBridge":         {bus, 1, 0, 0, 1},
		"EventBridge without NATS":        {bus + "nats: {}\n", 0, 1, 0, 1},
		"EventBridge where NATS is down":  {bus + nowhere, 0, 1, 0, 1},
		"both":                            {bus + "lambda: {announce: both}\n", 1, 1, 0, 1},
		"nothing":                         {"nats: {}\n", 0, 0, 1, 1},
		"NATS that is down":               {nowhere, 0, 0, 1, 1},
		"again, once in the log":          {"", 1, 0, 0, 2},
		"again, by the same id elsewhere": {bus + "nats: {}\n", 0, 1, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHosted(t, strings.Replace(c.config, "lambda: {", "lambda: {nats_timeout: 1s, ", 1))
			received := h.eventBus(t)
			arn := h.make("announced", firstValue)
			from, token := h.current(arn), h.begin(arn, true)
			if err := h.drive(arn, token); err != nil {
				t.Fatal(err)
			}
			for range c.finishes - 1 {
				if err := h.step("finishSecret", arn, token); err != nil {
					t.Fatal(err)
				}
			}
			if h.current(arn) != string(token) {
				t.Error("the rotation is not done")
			}
			if n := countVersion(logOf(t, h.nc, events.TypeRotated)["announced"], secret.VersionID(token)); n != c.onNATS {
				t.Errorf("%d times on NATS, want %d", n, c.onNATS)
			}
			ids := map[string]bool{}
			for _, d := range received() {
				if d.Data.VersionID == secret.VersionID(token) && d.Data.PreviousVersionID == secret.VersionID(from) && d.Data.Reason == events.ReasonLambda {
					ids[d.ID] = true
				}
			}
			if len(ids) != c.onAWS {
				t.Errorf("%d ids on EventBridge, want %d", len(ids), c.onAWS)
			}
			if n := strings.Count(h.fn.Output(), `"level":"ERROR","msg":"lambda.announcement_lost"`); n != c.lost {
				t.Errorf("%d announcements are said to be lost, want %d:\n%s", n, c.lost, h.fn.Output())
			}
		})
	}
}

// TestLambdaCredentials has the function take its signing key from a secret of
// Secrets Manager.
func TestLambdaCredentials(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "lambda: {credentials: rotator/bus}\n")
	text, err := json.Marshal(map[string]string{"SIGNING_KEY": h.key})
	if err != nil {
		t.Fatal(err)
	}
	h.make("rotator/bus", string(text))
	h.fn = serverstest.NewLambda(t, h.bootstrap())
	arn := h.make("by/key", firstValue)
	from, token := h.current(arn), h.begin(arn, true)
	if err := h.drive(arn, token); err != nil {
		t.Fatal(err)
	}
	h.rotated("with a key of Secrets Manager", arn, "by/key", token, from)
	if strings.Contains(h.fn.Output(), "PRIVATE KEY") {
		t.Error("the key is in the output")
	}
}

// TestLambdaHearsEvents gives the function events of Secrets Manager as
// EventBridge delivers them: a version that others wrote is announced,
// and an event that is not true changes nothing.
func TestLambdaHearsEvents(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "", secret.Spec{ID: "HEARD", Store: "embedded", Path: "heard"})
	arn := h.make("heard", firstValue)
	heard := func(name, id string) {
		t.Helper()
		if _, err := h.fn.Invoke(change("AWS API Call via CloudTrail", name, id), fnTimeout); err != nil {
			t.Errorf("%s of %s: %v", name, id, err)
		}
	}
	heard("PutSecretValue", arn) // announces the first version, which no one has
	first := secret.VersionID(h.current(arn))
	for range 3 {
		heard("RotationSucceeded", arn)
		heard("UpdateSecretVersionStage", "heard")
		heard("PutSecretValue", "others/secret")
	}
	out, err := h.sm.PutSecretValue(t.Context(), &sm.PutSecretValueInput{SecretId: &arn, SecretString: aws.String("Second-value-of-the-secret-2")})
	if err != nil {
		t.Fatal(err)
	}
	heard("PutSecretValue", arn)
	log := logOf(t, h.nc, events.TypeRotated)
	if got := log["HEARD"]; len(log) != 1 || len(got) != 2 || got[0].VersionID != first || got[1].VersionID != secret.VersionID(*out.VersionId) || got[1].Reason != events.ReasonExternal {
		t.Errorf("announced: %+v", log)
	}
}

// TestLambdaOfDiscoveredSecrets: what stands in the tags of a secret holds for
// the function too. One that a scheduler has AWS rotate is rotated, and an event
// about an unknown one has it discovered.
func TestLambdaOfDiscoveredSecrets(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "")
	text, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	discovering := strings.Replace(string(text), "{type: aws,", "{type: aws, discover: {id_prefix: found/},", 1)
	if err := os.WriteFile(h.config, []byte(discovering), 0o600); err != nil {
		t.Fatal(err)
	}
	tagged := func(name string, tags ...types.Tag) (arn, version string) {
		t.Helper()
		tags = append(tags, types.Tag{Key: aws.String("rotator:managed"), Value: aws.String("true")})
		out, err := h.sm.CreateSecret(t.Context(), &sm.CreateSecretInput{Name: &name, SecretString: aws.String(firstValue), Tags: tags})
		if err != nil {
			t.Fatal(err)
		}
		return *out.ARN, *out.VersionId
	}
	arn, from := tagged("triggered", types.Tag{Key: aws.String("rotator:strategy"), Value: aws.String("external")})
	token := h.begin(arn, true)
	if err := h.drive(arn, token); err != nil {
		t.Fatalf("%v\n%s", err, h.fn.Output())
	}
	h.settle(arn, token)
	h.rotated("triggered by a scheduler", arn, "found/triggered", token, from)

	arn, first := tagged("tagged", types.Tag{Key: aws.String("rotator:ttl"), Value: aws.String("1d")})
	h.make("untagged", firstValue)
	for _, name := range []string{"tagged", arn, "untagged", "not/there"} {
		if _, err := h.fn.Invoke(change("AWS API Call via CloudTrail", "TagResource", name), fnTimeout); err != nil {
			t.Errorf("%s: %v\n%s", name, err, h.fn.Output())
		}
	}
	discovered := logOf(t, h.nc, events.TypeDiscovered)
	if got := discovered["found/tagged"]; len(discovered) != 1 || len(got) != 1 || got[0].Discovered.Path != "tagged" {
		t.Errorf("discovered: %+v", discovered)
	}
	if n := countVersion(logOf(t, h.nc, events.TypeRotated)["found/tagged"], secret.VersionID(first)); n != 1 {
		t.Errorf("its version was announced %d times, want once", n)
	}
	var seen []struct {
		ID         secret.ID `json:"secret_id"`
		Discovered bool      `json:"discovered"`
	}
	h.ask(t, `{"action":"plan","secret_ids":["tagged","untagged"]}`, &seen)
	if len(seen) != 2 || seen[0].ID != "found/tagged" || !seen[0].Discovered || seen[1].Discovered {
		t.Errorf("plan: %+v", seen)
	}
	if armed, err := h.site.bus(h.nc, "test").ArmedKeys(t.Context()); err != nil || len(armed) != 0 {
		t.Errorf("the function armed %v, err %v: two would schedule", armed, err)
	}
}

// TestLambdaInTheEmulator runs the bootstrap under AWS's own emulator of the
// Lambda runtime, so that our way to run it is not the only one that it knows.
func TestLambdaInTheEmulator(t *testing.T) {
	t.Parallel()
	h := newHosted(t, "")
	emulator := filepath.Join(t.TempDir(), "aws-lambda-rie")
	build := exec.Command("go", "build", "-modfile=../tools/lambda/go.mod", "-o", emulator, "github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the emulator: %v\n%s", err, out)
	}
	address, api := freeAddress(t), freeAddress(t)
	p := &program{cmd: exec.Command(emulator, "--runtime-interface-emulator-address", address, "--runtime-api-address", api, h.bootstrap()), out: &output{}, done: make(chan struct{})}
	p.cmd.Dir = filepath.Dir(h.config)
	p.cmd.Env = append(os.Environ(), "SIGNING_KEY="+h.key, "LAMBDA_TASK_ROOT="+p.cmd.Dir, "ROTATOR_CONFIG=", "AWS_REGION=eu-central-1",
		"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_LAMBDA_FUNCTION_TIMEOUT=60")
	p.run(t)
	waittest.Until(t, "the emulator of Lambda listens", func() error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p.out)
		}
		return c.Close()
	})
	h.arn = "arn:aws:lambda:us-east-1:012345678912:function:test_function" // as the emulator calls it
	arn := h.make("emulated", firstValue)
	from, token := h.current(arn), h.begin(arn, true)
	for _, step := range append([]string{"noSuchStep"}, lambdaSteps...) {
		body := fmt.Sprintf(`{"Step":%q,"SecretId":%q,"ClientRequestToken":%q}`, step, arn, token)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/2015-03-31/functions/function/invocations", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v\n%s", step, err, p.out)
		}
		var answer struct {
			Outcome string `json:"outcome"`
			Error   string `json:"errorMessage"`
		}
		err = json.NewDecoder(resp.Body).Decode(&answer)
		_ = resp.Body.Close()
		if known := step != "noSuchStep"; err != nil || known != (answer.Outcome != "") || known == (answer.Error != "") {
			t.Errorf("%s: %+v, %v\n%s", step, answer, err, p.out)
		}
	}
	h.settle(arn, token)
	h.rotated("in the emulator", arn, "emulated", token, from)
}
