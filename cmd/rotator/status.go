package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// secretStatus is one secret as status and plan show it.
type secretStatus struct {
	SecretID  secret.ID           `json:"secret_id"`
	Store     string              `json:"store"`
	VersionID secret.VersionID    `json:"version_id,omitempty"`
	CreatedAt time.Time           `json:"created_at,omitzero"`
	NotAfter  time.Time           `json:"not_after,omitzero"`
	Pending   secret.VersionID    `json:"pending_version_id,omitempty"`
	Previous  secret.VersionID    `json:"previous_version_id,omitempty"`
	RotateAt  time.Time           `json:"rotate_at,omitzero"`
	Reason    scheduler.Reason    `json:"reason"`
	Message   string              `json:"message"`
	Armed     bool                `json:"armed"`
	Rollout   events.RolloutState `json:"rollout,omitempty"`
	Applied   int                 `json:"applied"`
	Blocking  []events.Blocker    `json:"blocking,omitempty"`
	Services  []string            `json:"services,omitempty"`
	Error     string              `json:"error,omitempty"`
}

func statusCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status [ID...]",
		Short: "Show every secret: its version, when it rotates, and who does not run it yet",
		Long: `Reads the stores and the bus and shows, per secret, the current version, its
age, when it rotates and why, where its rollout is, and every instance that does
not run the current version. It changes nothing.

The exit code is 1 when a secret cannot be read or is past its end.`,
		Example: `  rotator status --config docs/examples/single-node.yaml
  rotator status --json | jq '.[] | select(.blocking)'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			parts, err := attach(cmd, *path)
			if err != nil {
				return err
			}
			defer parts.Close()
			all, err := collect(cmd.Context(), parts, args)
			if err != nil {
				return err
			}
			if asJSON {
				err = cli.PrintJSON(cmd.OutOrStdout(), all)
			} else {
				err = printStatus(cmd.OutOrStdout(), all, time.Now())
			}
			return errors.Join(err, unhealthy(all))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	return cmd
}

func planCommand(path *string) *cobra.Command {
	var asJSON bool
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "plan [ID...]",
		Short: "Show what would rotate when, why, and whom it concerns",
		Long: `Decides for every secret what the scheduler would decide now, and shows what
rotates within the given time, with the services and instances that will have to
reload. It changes nothing.`,
		Example: "  rotator plan --within 7d --config docs/examples/cluster.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			parts, err := attach(cmd, *path)
			if err != nil {
				return err
			}
			defer parts.Close()
			all, err := collect(cmd.Context(), parts, args)
			if err != nil {
				return err
			}
			var due []secretStatus
			now := time.Now()
			for _, s := range all {
				if within == 0 || s.Error != "" || s.RotateAt.IsZero() || s.RotateAt.Before(now.Add(within)) {
					due = append(due, s)
				}
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), due)
			}
			return printPlan(cmd.OutOrStdout(), due, now)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	cmd.Flags().DurationVar(&within, "within", 0, "only what rotates within this time (default: everything)")
	return cmd
}

// collect looks at the secrets with the given ids, or at all.
func collect(ctx context.Context, p *wire.Parts, only []string) ([]secretStatus, error) {
	reports, err := p.Bus.Reports(ctx)
	if err != nil {
		return nil, err
	}
	var specs []secret.Spec
	for _, id := range only {
		spec, _, err := p.Catalog.Lookup(secret.ID(id))
		if err != nil {
			return nil, err
		}
		specs = append(specs, spec)
	}
	if len(only) == 0 {
		for spec := range p.Catalog.Specs() {
			specs = append(specs, spec)
		}
	}
	out := make([]secretStatus, 0, len(specs))
	for _, spec := range specs {
		out = append(out, look(ctx, p, spec, reports))
	}
	return out, nil
}

// look gathers all that is known of one secret.
func look(ctx context.Context, p *wire.Parts, spec secret.Spec, reports []events.Report) secretStatus {
	s := secretStatus{SecretID: spec.ID, Store: spec.Store, Services: spec.Services}
	_, st, err := p.Catalog.Lookup(spec.ID)
	if err != nil {
		s.Error = err.Error()
		return s
	}
	meta, err := st.Describe(ctx, spec.StorePath())
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.Error = err.Error()
		return s
	}
	timer, terr := p.Bus.Timer(ctx, events.TypeNearExpiry, spec.ID)
	failed, ferr := p.Bus.Last(ctx, events.TypeRotationFailed, spec.ID)
	rollout, rerr := p.Bus.Last(ctx, events.TypeRollout, spec.ID)
	if err := errors.Join(terr, ferr, rerr); err != nil {
		s.Error = err.Error()
	}
	d := scheduler.Evaluate(time.Now(), spec, scheduler.Facts{Known: err == nil, Meta: meta, Timer: timer, Failed: failed.Event.Data})
	s.Reason, s.Message, s.RotateAt, s.Armed = d.Reason, d.Message, d.At, timer.Seq != 0
	cur := meta.Current()
	s.VersionID, s.CreatedAt, s.NotAfter = cur.ID, cur.CreatedAt, spec.NotAfter(meta, cur)
	pending, _ := meta.At(secret.StagePending)
	previous, _ := meta.At(secret.StagePrevious)
	s.Pending, s.Previous = pending.ID, previous.ID
	if cur.ID != "" {
		s.Rollout = events.RolloutRolling
		s.Blocking, s.Applied = events.Blocking(reports, spec.Services, spec.ID, cur.ID)
	}
	if ro := rollout.Event.Data; ro.VersionID == cur.ID && ro.Rollout != nil {
		s.Rollout = ro.Rollout.State
	}
	return s
}

func printStatus(w io.Writer, all []secretStatus, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SECRET\tSTORE\tVERSION\tAGE\tROTATES\tROLLOUT\tRUNNING")
	for _, s := range all {
		if s.Error != "" {
			fmt.Fprintf(t, "%s\t%s\t%s\n", s.SecretID, s.Store, s.Error)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d of %d\n", s.SecretID, s.Store, shortID(s.VersionID), since(s.CreatedAt, now),
			s.Message, s.Rollout, s.Applied, s.Applied+len(s.Blocking))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, s := range all {
		for _, b := range s.Blocking {
			if _, err := fmt.Fprintf(w, "  %s is held back by %s\n", s.SecretID, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func printPlan(w io.Writer, all []secretStatus, now time.Time) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "SECRET\tWHEN\tWHY\tSERVICES\tINSTANCES")
	for _, s := range all {
		when := "–"
		if !s.RotateAt.IsZero() {
			when = s.RotateAt.Local().Format("2006-01-02 15:04:05")
			if !s.RotateAt.After(now) {
				when = "now"
			}
		}
		why := string(s.Reason) + ": " + s.Message
		if s.Error != "" {
			why = s.Error
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\n", s.SecretID, when, why, len(s.Services), s.Applied)
	}
	return t.Flush()
}

func shortID(v secret.VersionID) string {
	if v == "" {
		return "–"
	}
	return string(v[:min(len(v), 8)])
}

func since(at, now time.Time) string {
	if at.IsZero() {
		return "–"
	}
	return now.Sub(at).Round(time.Second).String()
}

// unhealthy returns an error when a secret cannot be read or is past its end.
func unhealthy(all []secretStatus) error {
	n := 0
	for _, s := range all {
		if s.Error != "" || s.Reason == scheduler.ReasonExpired || s.Reason == scheduler.ReasonNotFound {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d secrets need attention", n, len(all))
}
