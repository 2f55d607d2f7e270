package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/view"
	"github.com/tradepulse/rotator/pkg/inspect"
)

// planWithin is what counts as soon unless --within says otherwise.
const planWithin = 24 * time.Hour

func planCommand(path *string) *cobra.Command {
	var asJSON, detailed bool
	var within time.Duration
	var out string
	cmd := &cobra.Command{
		Use:   "plan [ID...]",
		Short: "Show what will happen to each secret, when and why",
		Long: `Decides for every secret what the scheduler would decide now: what happens, when,
why then, and which services and instances will have to reload; first the secrets of
the configuration, then those that are discovered in the stores. It changes nothing,
and needs nothing that runs: before the first start it shows what that will create.
Without the bus, instances, timers and rollouts are unknown.

WHY names the parts of the time: the life of the version less the refresh margin, the
jitter of this version and the way to the last window. WAIT is how long a version
outlives the promotion of its successor at least: the longest of grace period, lease
and floor. Drift is where stores, bus and tags differ from what they should be; that
is listed apart.

A plan that is saved with --out holds what happens within --within, or a day, and
'rotator apply' makes that happen now.

Exit codes with --detailed-exitcode:
  0  nothing will happen within --within, or a day
  1  an error, or a secret cannot be read
  2  a secret will be created or rotated in that time`,
		Example: `  rotator plan --within 7d --config docs/examples/cluster.yaml
  rotator plan --within 7d --out week.plan && rotator apply week.plan`,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			look, err := operator.PlanSecrets(cmd, *path, args)
			if err != nil {
				return err
			}
			p := newPlan(look, within)
			if out != "" {
				err = operator.SavePlan(out, p)
			}
			if asJSON {
				err = errors.Join(err, cli.PrintJSON(cmd.OutOrStdout(), p))
			} else {
				err = errors.Join(err, view.Plan(cmd.OutOrStdout(), p, look.First))
			}
			return errors.Join(err, unread(p), happens(p, detailed))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	cmd.Flags().Var((*cli.Duration)(&within), "within", "only what happens within this time (default: everything)")
	cmd.Flags().StringVar(&out, "out", "", "save the plan in a new file, for 'rotator apply'")
	cmd.Flags().BoolVar(&detailed, cli.Detailed, false, "end with 2 if something will happen soon")
	return cmd
}

// newPlan returns the plan of what was read, limited to a time unless it is 0.
func newPlan(look operator.Look, within time.Duration) inspect.Plan {
	now := time.Now()
	all := look.Secrets
	if within != 0 {
		all = slices.DeleteFunc(all, func(s inspect.Secret) bool { return !s.MayRotateBefore(now.Add(within)) })
	} else {
		within = planWithin
	}
	return inspect.NewPlan(now, within, all, look.Bus)
}

// unread returns an error when secrets cannot be read.
func unread(p inspect.Plan) error {
	n := 0
	for _, s := range p.Secrets {
		if s.Error != "" {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d secrets cannot be read", n, len(p.Secrets))
}

func happens(p inspect.Plan, detailed bool) error {
	if detailed && unread(p) == nil && len(p.Soon()) > 0 {
		return cli.ErrHappens
	}
	return nil
}
