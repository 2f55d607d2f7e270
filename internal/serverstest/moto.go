package serverstest

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Moto is a running moto server.
type Moto struct {
	// URL is the endpoint of every AWS service.
	URL string
}

// StartMoto starts an AWS emulator with nothing in it. Any credentials will do.
func StartMoto(t testing.TB) *Moto {
	t.Helper()
	port := FreePort(t)
	cmd := exec.Command(Tool(t, "moto_server"), "-H", "127.0.0.1", "-p", strconv.Itoa(port))
	// The server's own log of requests is of no use to a test.
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	p := run(t, cmd)
	p.await(loopback(port)+"/moto-api/", func(status int) bool { return status == http.StatusOK })
	return &Moto{URL: distant(t, loopback(port))}
}

// Key is an access key of AWS.
type Key struct{ ID, Secret string }

// User makes a user with one inline policy document and returns its key.
func (m *Moto) User(t testing.TB, name, policy string) Key {
	t.Helper()
	const script = `
import boto3, json, sys
url, name, policy = sys.argv[1:]
iam = boto3.client("iam", endpoint_url=url, region_name="us-east-1", aws_access_key_id="root", aws_secret_access_key="root")
iam.create_user(UserName=name)
iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=policy)
key = iam.create_access_key(UserName=name)["AccessKey"]
print(json.dumps({"ID": key["AccessKeyId"], "Secret": key["SecretAccessKey"]}))
`
	out, err := exec.CommandContext(t.Context(), Tool(t, "python"), "-c", script, m.URL, name, policy).Output()
	if err != nil {
		t.Fatalf("make user %s: %v", name, err)
	}
	var k Key
	if err := json.Unmarshal(out, &k); err != nil {
		t.Fatal(err)
	}
	return k
}

// Enforce makes the server check the policies of users from now on; root's
// credentials are refused as well.
func (m *Moto) Enforce(t testing.TB) {
	t.Helper()
	m.authAfter(t, "0")
}

// Trust ends Enforce.
func (m *Moto) Trust(t testing.TB) {
	t.Helper()
	m.authAfter(t, "inf")
}

func (m *Moto) authAfter(t testing.TB, calls string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.URL+"/moto-api/reset-auth", strings.NewReader(calls))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("reset-auth: %s", resp.Status)
	}
}
