package awssm_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// TestCredentialsAreInNoError: AWS quotes the headers that were signed when it does
// not accept the signature, and a proxy may quote the login of a pod.
func TestCredentialsAreInNoError(t *testing.T) {
	const token = "Canary-Session-4711-abcdef"
	front := serverstest.StartProxy(t, "http://127.0.0.1:1")
	front.Inject(-1, nil, serverstest.Quoting(func(request []byte) (int, []byte) {
		body, _ := json.Marshal(map[string]string{"__type": "InvalidSignatureException", "message": "The canonical string should have been " + string(request)})
		return http.StatusForbidden, body
	}))
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", file+".none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file+".none")
	for name, env := range map[string]map[string]string{
		"the token of a session": {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "Canary-Key-4711", "AWS_SESSION_TOKEN": token},
		"the token of a pod": {
			"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": "", "AWS_ENDPOINT_URL_STS": front.URL,
			"AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn:aws:iam::000000000000:role/app",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range env {
				t.Setenv(k, v)
			}
			d, err := awssm.Open(t.Context(), awssm.Config{Region: "us-east-1", Endpoint: front.URL, Attempts: -1})
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.Describe(t.Context(), "one")
			if err == nil || front.Hits() == 0 || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "4711") {
				t.Errorf("%d answers, and the error is nil or holds the token", front.Hits())
			}
		})
	}
}
