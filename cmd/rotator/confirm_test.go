package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/view"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/scheduler"
)

// TestWhatIsNotSaidIsUsage: the commands that record what a person vouches for refuse
// to guess, before they connect; where nothing runs they fail.
func TestWhatIsNotSaidIsUsage(t *testing.T) {
	t.Parallel()
	cfg := filepath.Join(t.TempDir(), "rotator.yaml")
	if err := os.WriteFile(cfg, []byte("node: {data_dir: "+t.TempDir()+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"confirm":                               {cli.ExitUsage, "an argument is missing; want: rotator confirm ID"},
		"confirm A":                             {cli.ExitUsage, "--version is required"},
		"confirm A --version v1":                {cli.ExitUsage, "--consumer is required"},
		"confirm A --version v1 --consumer a.b": {cli.ExitUsage, "--consumer is required"},
		"confirm a\x01b --version v1 --consumer erp": {cli.ExitUsage, "invalid secret id"},
		"confirm A --version v1 --consumer erp":      {cli.ExitFailed, "no single node has run"},
		"confirm A --value v1":                       {cli.ExitUsage, "unknown flag: --value"},
		"forget":                                     {cli.ExitUsage, "an argument is missing; want: rotator forget SERVICE/INSTANCE"},
		"forget api":                                 {cli.ExitUsage, `"api" is not SERVICE/INSTANCE`},
		"forget api/a.b --reason x":                  {cli.ExitUsage, `"api/a.b" is not SERVICE/INSTANCE`},
		"forget api/1":                               {cli.ExitUsage, "--reason is required"},
		"forget api/1 --reason x":                    {cli.ExitFailed, "no single node has run"},
		"forget api/1 --reason x --incarnation":      {cli.ExitUsage, "flag needs an argument: --incarnation"},
		"confirm-fleet all":                          {cli.ExitUsage, "one argument is given; want: rotator confirm-fleet"},
		"confirm-fleet":                              {cli.ExitUsage, "--reason is required"},
		"confirm-fleet --reason x":                   {cli.ExitFailed, "no single node has run"},
		"confirm-fleet --reason x --yes":             {cli.ExitUsage, "unknown flag: --yes"},
		"forget api/1 --reason x --json --config=":   {cli.ExitUsage, "which configuration?"},
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			var out, errs strings.Builder
			cmd := root()
			cmd.SetOut(&out)
			cmd.SetErr(&errs)
			cmd.SetArgs(append([]string{"--config", cfg}, strings.Fields(args)...))
			if code := cli.Execute(cmd); code != want.code || !strings.Contains(errs.String(), want.text) || out.Len() > 0 {
				t.Errorf("exit code %d, want %d\n%s%s", code, want.code, &out, &errs)
			}
		})
	}
}

// TestTheEffectiveWaitIsShown by plan and by status.
func TestTheEffectiveWaitIsShown(t *testing.T) {
	t.Parallel()
	all := []inspect.Secret{{SecretID: "DB", Store: "main", Previous: "1", Reason: scheduler.ReasonNearExpiry, Rollout: events.RolloutConverged, WaitSeconds: 3636}}
	var plan strings.Builder
	if err := view.Plan(&plan, inspect.NewPlan(time.Now(), time.Hour, all, nil), false); err != nil {
		t.Fatal(err)
	}
	if got := plan.String(); !strings.Contains(got, "WAIT\n") || !strings.Contains(got, " 1h0m36s lease\n") {
		t.Errorf("plan prints\n%s", got)
	}
}
