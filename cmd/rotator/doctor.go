package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/doctor"
	"github.com/tradepulse/rotator/cmd/internal/operator"
)

const doctorHelp = `Reads the stores, the bus and the configuration while the system runs, and says what is
wrong, errors first: for each finding a code that does not change, what it is about, the
evidence, and a command that says more or mends it. What cannot be read is a finding.

It changes nothing without --fix. With it, it applies the remedies that are safe: it
asks for a sweep, which sets and moves timers and announces versions, deletes consumers
that no program uses, and withdraws pending versions whose rotation was given up. Each
is recorded in the stream RECORD before. To run it again changes nothing more.

Exit codes: 0, nothing is wrong, or all was fixed; 1, something is; 2, the command line
or the configuration is wrong, or neither the bus nor a store could be opened.`

func doctorCommand(path *string) *cobra.Command {
	var fix, asJSON bool
	var idle time.Duration
	cmd := &cobra.Command{
		Use: "doctor", Short: "Find what is wrong with a system that runs, and what to do about it", Long: doctorHelp, Args: cli.Exactly(0),
		Example: "  rotator doctor --config docs/examples/single-node.yaml\n  rotator doctor --config docs/examples/single-node.yaml --fix --ticket OPS-12",
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "apply the remedies that are safe")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	cmd.Flags().DurationVar(&idle, "idle", time.Hour, "how long a consumer that no program uses is idle before it counts as orphaned")
	why := whyFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		found, err := examine(cmd, *path, fix, idle, *why)
		if err != nil {
			return err
		}
		if asJSON {
			err = cli.PrintJSON(cmd.OutOrStdout(), found)
		} else {
			err = doctor.Print(cmd.OutOrStdout(), found)
		}
		if all, errs := doctor.Left(found); all > 0 {
			err = errors.Join(err, fmt.Errorf("%s wrong, %s", things(all), cli.Count(errs, "error")))
		}
		return err
	}
	return cmd
}

func things(n int) string {
	if n == 1 {
		return "1 thing is"
	}
	return fmt.Sprintf("%d things are", n)
}

// examine finds what is wrong, and mends it if that is asked for.
func examine(cmd *cobra.Command, path string, fix bool, idle time.Duration, why operator.Why) ([]doctor.Finding, error) {
	o, err := operator.New(cmd, path)
	if err != nil {
		return nil, err
	}
	r, err := o.Reach(cmd.Context())
	if err != nil {
		return nil, cli.UsageError{Err: err}
	}
	defer func() { _ = r.Close() }() // each act was acknowledged
	found := doctor.Diagnose(doctor.Read(cmd.Context(), o.Config, r, idle))
	if fix {
		doctor.Apply(cmd.Context(), r, found, why)
	}
	if path != os.Getenv("ROTATOR_CONFIG") {
		doctor.WithConfig(found, path)
	}
	return found, nil
}
