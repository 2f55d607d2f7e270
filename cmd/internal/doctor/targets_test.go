package doctor

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/inspect"
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
