package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// writeReceipt writes a receipt and the keys that signed it, and returns their files.
func writeReceipt(t *testing.T) (receipt, public string) {
	t.Helper()
	signer, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "signing.key")
	if err := signer.Save(key); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	d := events.Data{SecretID: "DB", VersionID: "v2", Rollout: &events.Rollout{State: events.RolloutDraining, StartedAt: at.Add(-time.Hour), RetireAt: at.Add(-time.Minute)}}
	p := rollout.Proof{
		Question: rollout.Question{Spec: secret.Spec{ID: "DB", Fence: time.Minute}, VersionID: "v2", Unstaged: true, Promoted: at.Add(-time.Hour)},
		Order:    d, Logged: d, Retired: []secret.VersionID{"v1"},
		Fleet: events.Fleet{SecretID: "DB", Seq: 1, At: at, Since: at.Add(-2 * time.Hour), Confirmed: at.Add(-2 * time.Hour), Users: []events.User{{
			Use: events.Use{
				Running: events.Running{SecretID: "DB", VersionID: "v2", Status: events.StatusApplied}, Service: "api", Instance: "1",
				Accepts: []secret.VersionID{}, PastFence: events.PastFenceRefuse,
			},
			Presence: events.Presence{Lease: 60}, UsedAt: at, RenewedAt: at,
		}}},
	}
	s, err := signer.Seal(events.SealedReceipt, p.Receipt("/test", at))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	receipt = filepath.Join(t.TempDir(), "receipt.json")
	if err := os.WriteFile(receipt, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return receipt, key + ".pub"
}

// TestReceiptVerify: the exit code is the verdict, and neither a bus nor a
// configuration is asked.
func TestReceiptVerify(t *testing.T) {
	t.Parallel()
	receipt, public := writeReceipt(t)
	_, stranger := writeReceipt(t)
	text, err := os.ReadFile(receipt)
	if err != nil {
		t.Fatal(err)
	}
	tampered := filepath.Join(t.TempDir(), "tampered.json")
	if err := os.WriteFile(tampered, bytes.Replace(text, []byte(`"v1"`), []byte(`"v0"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args string
		in   []byte
		code int
		want string // a part of the output
	}{
		"a valid one":            {receipt, nil, cli.ExitOK, "whose trust was not checked"},
		"with its key":           {receipt + " --key " + public, nil, cli.ExitOK, "signed by the trusted key"},
		"with another key":       {receipt + " --key " + stranger, nil, cli.ExitFailed, "not trusted"},
		"as JSON":                {receipt + " --json", nil, cli.ExitOK, `"trusted": "not_checked"`},
		"from standard input":    {"-", text, cli.ExitOK, "to retire version v1"},
		"tampered":               {tampered, nil, cli.ExitFailed, "not valid"},
		"tampered, as JSON":      {tampered + " --json", nil, cli.ExitFailed, `"valid": false`},
		"nothing":                {"-", nil, cli.ExitFailed, "not a receipt"},
		"a file that is missing": {receipt + ".gone", nil, cli.ExitUsage, "no such file"},
		"a key that is missing":  {receipt + " --key " + receipt + ".gone", nil, cli.ExitUsage, "--key"},
		"a key that is none":     {receipt + " --key " + receipt, nil, cli.ExitUsage, "--key"},
		"without a file":         {"", nil, cli.ExitUsage, "verify FILE"},
	} {
		cmd := root()
		var out bytes.Buffer
		cmd.SetArgs(append([]string{"receipt", "verify"}, strings.Fields(tt.args)...))
		cmd.SetIn(bytes.NewReader(tt.in))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		if code := cli.Execute(cmd); code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%s: exit code %d, want %d with %q; it says\n%s", name, code, tt.code, tt.want, out.String())
		}
	}
}
