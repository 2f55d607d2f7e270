package secret_test

import (
	"bufio"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/goccy/go-yaml"

	"github.com/tradepulse/rotator/pkg/secret"
)

// TestDefaultValuesNeedNoQuoting: a value of the default policy goes through the
// parsers of what services are configured with, unquoted and in quotes.
func TestDefaultValuesNeedNoQuoting(t *testing.T) {
	t.Parallel()
	values := make([]string, 300)
	for i := range values {
		v, err := secret.DefaultPolicy().Generate(nil)
		if err != nil {
			t.Fatal(err)
		}
		values[i] = string(v.Reveal())
	}
	for name, parse := range map[string]func(t *testing.T, v string) string{
		"URL": inURL, "query": inQuery, "JSON template": inJSON, "YAML": inYAML, "quoted YAML": inQuotedYAML, "header": inHeader, "INI": inINI,
	} {
		for _, v := range values {
			if got := parse(t, v); got != v {
				t.Errorf("%s: a value does not survive", name)
				break
			}
		}
	}
	inShell(t, values)
	if bits := secret.DefaultLength * math.Log2(float64(62+len(secret.DefaultSymbols))); bits < 32*math.Log2(94) {
		t.Errorf("%.0f bits, which is less than 32 characters of ASCII have", bits)
	}
}

func inURL(_ *testing.T, v string) string {
	u, err := url.Parse("postgres://app:" + v + "@db.internal:5432/app")
	if err != nil {
		return err.Error()
	}
	p, _ := u.User.Password()
	return p
}

func inQuery(_ *testing.T, v string) string {
	u, err := url.Parse("https://api.internal/v1/" + v + "?token=" + v + "#" + v)
	if err != nil || u.Path != "/v1/"+v || u.Fragment != v {
		return ""
	}
	return u.Query().Get("token")
}

func inJSON(_ *testing.T, v string) string {
	var out struct{ Password string }
	_ = json.Unmarshal([]byte(`{"password":"`+v+`"}`), &out) // the value shows it
	return out.Password
}

func inYAML(_ *testing.T, v string) string {
	var out map[string]any
	_ = yaml.Unmarshal([]byte("password: "+v+"\n"), &out) // the value shows it
	s, _ := out["password"].(string)
	return s
}

func inQuotedYAML(t *testing.T, v string) string { return inYAML(t, `"`+v+`"`) }

func inHeader(_ *testing.T, v string) string {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + v + "\r\n\r\n")))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = r.Body.Close() }()
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func inINI(t *testing.T, v string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ini")
	text := "[default]\naws_access_key_id = app\naws_secret_access_key = " + v + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := config.LoadSharedConfigProfile(t.Context(), "default", func(o *config.LoadSharedConfigOptions) {
		o.CredentialsFiles, o.ConfigFiles = []string{file}, []string{}
	})
	if err != nil {
		return err.Error()
	}
	return got.Credentials.SecretAccessKey
}

// inShell has a shell read an env file in which each value stands unquoted and in
// either quotes.
func inShell(t *testing.T, values []string) {
	t.Helper()
	var text strings.Builder
	var want []string
	for _, v := range values {
		for _, quote := range []string{"", `"`, "'"} {
			text.WriteString("PW=" + quote + v + quote + "\nprintf '%s\\n' $PW\n")
			want = append(want, v)
		}
	}
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "sh", file).Output()
	if err != nil || strings.TrimSuffix(string(out), "\n") != strings.Join(want, "\n") {
		t.Errorf("a value does not survive an env file (%v)", err)
	}
}

// TestNoGeneratedValueIsUnfit: the generator keeps the rule of the gate.
func TestNoGeneratedValueIsUnfit(t *testing.T) {
	t.Parallel()
	p := secret.Policy{MinLength: 4, Length: 4, Alphabet: "ab ", Classes: []secret.Class{}}
	for range 500 {
		v, err := p.Generate(nil)
		if err != nil || p.Check(v) != nil {
			t.Fatalf("%v, broken %v", err, p.Check(v))
		}
	}
	for _, bad := range []secret.Policy{{Use: secret.UseToken, Alphabet: "ab cD1."}, {Use: secret.UseToken, Symbols: " ."}, {Use: secret.UseToken, Length: 9000}, {Use: "header"}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}
