package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/tradepulse/rotator/internal/serverstest"
)

// outside is a person who works on a store past us, with the store's own tools.
type outside interface {
	// config is the store as a configuration names it, without its braces, and
	// env what lets a program in.
	config() string
	env() []string
	// create makes a secret with a value and tags, write gives it another value.
	create(t *testing.T, path, value string, tags map[string]string)
	write(t *testing.T, path, value string)
	// read returns the current value.
	read(t *testing.T, path string) string
	// tag replaces the tags, remove deletes the secret.
	tag(t *testing.T, path string, tags map[string]string)
	remove(t *testing.T, path string)
}

// outsiders start a store of each kind that has tags.
var outsiders = map[string]func(*testing.T) outside{
	"aws":   func(t *testing.T) outside { return newAWS(t, serverstest.StartMoto(t).URL) },
	"vault": func(t *testing.T) outside { return baoOutside{serverstest.StartBao(t)} },
}

type awsOutside struct {
	url string
	*sm.Client
}

func newAWS(t *testing.T, url string) awsOutside {
	t.Helper()
	return awsOutside{url, sm.New(sm.Options{Region: "eu-central-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("other", "other", "")})}
}

func (a awsOutside) config() string { return "type: aws" }

func (a awsOutside) env() []string {
	return []string{"AWS_ENDPOINT_URL=" + a.url, "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true"}
}

func awsTags(tags map[string]string) []types.Tag {
	var out []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return out
}

func (a awsOutside) create(t *testing.T, path, value string, tags map[string]string) {
	t.Helper()
	if err := a.add(t.Context(), path, value, tags); err != nil {
		t.Fatal(err)
	}
}

func (a awsOutside) add(ctx context.Context, path, value string, tags map[string]string) error {
	_, err := a.CreateSecret(ctx, &sm.CreateSecretInput{Name: &path, SecretString: &value, Tags: awsTags(tags)})
	return err
}

func (a awsOutside) write(t *testing.T, path, value string) {
	t.Helper()
	if _, err := a.PutSecretValue(t.Context(), &sm.PutSecretValueInput{SecretId: &path, SecretString: &value}); err != nil {
		t.Fatal(err)
	}
}

func (a awsOutside) read(t *testing.T, path string) string {
	t.Helper()
	// moto returns the version that was put last when no stage is given.
	out, err := a.GetSecretValue(t.Context(), &sm.GetSecretValueInput{SecretId: &path, VersionStage: aws.String("AWSCURRENT")})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.SecretString)
}

func (a awsOutside) tag(t *testing.T, path string, tags map[string]string) {
	t.Helper()
	out, err := a.DescribeSecret(t.Context(), &sm.DescribeSecretInput{SecretId: &path})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, tag := range out.Tags {
		keys = append(keys, *tag.Key)
	}
	if len(keys) > 0 {
		if _, err := a.UntagResource(t.Context(), &sm.UntagResourceInput{SecretId: &path, TagKeys: keys}); err != nil {
			t.Fatal(err)
		}
	}
	if len(tags) > 0 {
		if _, err := a.TagResource(t.Context(), &sm.TagResourceInput{SecretId: &path, Tags: awsTags(tags)}); err != nil {
			t.Fatal(err)
		}
	}
}

func (a awsOutside) remove(t *testing.T, path string) {
	t.Helper()
	if _, err := a.DeleteSecret(t.Context(), &sm.DeleteSecretInput{SecretId: &path, ForceDeleteWithoutRecovery: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
}

type baoOutside struct{ *serverstest.Bao }

func (b baoOutside) config() string { return "type: vault" }

func (b baoOutside) env() []string { return []string{"VAULT_ADDR=" + b.URL, "VAULT_TOKEN=" + b.Root} }

// cli runs the server's own command line.
func (b baoOutside) cli(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), serverstest.Tool(t, "bao"), args...)
	cmd.Env = append(os.Environ(), "BAO_ADDR="+b.URL, "BAO_TOKEN="+b.Root, "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("bao %s: %v: %s", strings.Join(args[:2], " "), err, out)
	}
	return string(out)
}

func (b baoOutside) create(t *testing.T, path, value string, tags map[string]string) {
	t.Helper()
	b.tag(t, path, tags)
	b.write(t, path, value)
}

func (b baoOutside) write(t *testing.T, path, value string) {
	t.Helper()
	b.cli(t, "kv", "put", "-mount=secret", path, "value="+value)
}

func (b baoOutside) read(t *testing.T, path string) string {
	t.Helper()
	var out struct {
		Data struct{ Data map[string]string }
	}
	if err := json.Unmarshal([]byte(b.cli(t, "kv", "get", "-mount=secret", "-format=json", path)), &out); err != nil {
		t.Fatal(err)
	}
	return out.Data.Data["value"]
}

func (b baoOutside) tag(t *testing.T, path string, tags map[string]string) {
	t.Helper()
	args := []string{"kv", "metadata", "put", "-mount=secret"}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		args = append(args, fmt.Sprintf("-custom-metadata=%s=%s", key, tags[key]))
	}
	if len(tags) == 0 { // the command line cannot take the last one away
		b.Do(t, http.MethodPost, "secret/metadata/"+path, map[string]any{"custom_metadata": map[string]string{}}, nil)
		return
	}
	b.cli(t, append(args, path)...)
}

func (b baoOutside) remove(t *testing.T, path string) {
	t.Helper()
	b.cli(t, "kv", "metadata", "delete", "-mount=secret", path)
}
