package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// TestNoWorkerLogsIn: that is a finding of a secret with a target alone, once its version
// is older than two intervals.
func TestNoWorkerLogsIn(t *testing.T) {
	t.Parallel()
	with := &config.Config{Worker: config.Worker{VerifyEvery: config.DurationOrNone(time.Hour)}, Secrets: []config.Secret{{ID: "a", Target: config.SecretTarget{Name: "pg"}}}}
	off := &config.Config{Worker: config.Worker{VerifyEvery: config.None}, Secrets: with.Secrets}
	for name, c := range map[string]struct {
		cfg   *config.Config
		age   time.Duration
		login *inspect.TargetLogin
		want  int
	}{
		"no login":                  {with, 3 * time.Hour, nil, 1},
		"a version that is young":   {with, time.Hour, nil, 0},
		"a login":                   {with, 3 * time.Hour, &inspect.TargetLogin{}, 0},
		"a secret without a target": {same, 3 * time.Hour, nil, 0},
		"logins are switched off":   {off, 3 * time.Hour, nil, 0},
	} {
		f := healthy()
		f.Config, f.Secrets[0].CreatedAt, f.Secrets[0].Login = c.cfg, now.Add(-c.age), c.login
		if found := unverified(f); len(found) != c.want || c.want == 1 && (found[0].Code != CodeUnverified || found[0].Subject != "a") {
			t.Errorf("%s: %+v, want %d", name, found, c.want)
		}
	}
}

// TestOrphans: a credential is one unless a version that is known has it. What could not
// be listed is neither fine nor an orphan.
func TestOrphans(t *testing.T) {
	t.Parallel()
	cred := func(of secret.ID, v secret.VersionID) target.Credential {
		return target.Credential{Ref: target.Ref{Secret: of, Version: v, Name: "app_clone"}, Remedy: "ALTER ROLE app_clone NOLOGIN"}
	}
	for name, c := range map[string]struct {
		l    Listed
		code secret.FindingCode // "" for none
		says string
	}{
		"a known version":            {Listed{Credentials: []target.Credential{cred("a", "v1")}}, "", ""},
		"a server without versions":  {Listed{Credentials: []target.Credential{cred("", "v1")}}, "", ""},
		"no version":                 {Listed{Credentials: []target.Credential{cred("", "")}}, CodeCredential, "no version that is known"},
		"a version that was retired": {Listed{Credentials: []target.Credential{cred("a", "v0")}}, CodeCredential, "version v0"},
		"another secret":             {Listed{Credentials: []target.Credential{cred("b", "v1")}}, CodeCredential, "the secret b"},
		"not listed":                 {Listed{Err: errors.New("no route")}, CodeUnlistedTarget, "no route"},
	} {
		f := healthy()
		c.l.Secret, c.l.Target, c.l.Known = "a", "pg", []secret.VersionID{"v1"}
		f.Listed = []Listed{c.l}
		found := Diagnose(f)
		switch {
		case c.code == "" && len(found) > 0, c.code != "" && (len(found) != 1 || found[0].Code != c.code || found[0].Subject != "a" || !strings.Contains(found[0].Message, c.says)):
			t.Errorf("%s: %+v, want %q", name, found, c.code)
		case c.code == CodeCredential && (!strings.Contains(found[0].Message, "NOLOGIN") || !strings.Contains(found[0].Message, "the target pg has app_clone")):
			t.Errorf("%s: %q has no evidence or no remedy", name, found[0].Message)
		}
	}
}
