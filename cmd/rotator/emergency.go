package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
)

// emergencyFlags are the flags of 'rotator rotate' that only an emergency has.
type emergencyFlags struct {
	on, yes bool
	report  string
}

func (f *emergencyFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.on, "emergency", false, "the values have leaked: rotate ahead of everything else, and destroy them")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "with --emergency: start, whomever it may break")
	cmd.Flags().StringVar(&f.report, "report", "", "with --emergency: write the report to this file, as JSON if its name ends in .json")
}

const emergencyHelp = `

With --emergency the values have leaked. Their rotation has a lane of its own ahead of
everything else, and waits for no schedule, window, pause, grace period, overlap or
floor. The old version is destroyed, whatever 'retire' says, and its receipt calls it
compromised. It still waits for every instance that is live. The command says first
whom it may break, and starts with --yes. The --ticket names the emergency: the same
command again finds what it has done, rotates nothing twice, and goes on.

The exit code is 0 when every leaked version is proven to be dead, and 1 when one is
not: the report names it, and why.`

// run rotates what has leaked, and reports.
func (f *emergencyFlags) run(cmd *cobra.Command, path string, pick operator.Pick, why operator.Why, wait time.Duration, asJSON bool) error {
	if why.Ticket == "" {
		return cli.UsageError{Err: errors.New("--ticket is required: it names the emergency, so that the same command can be run again")}
	}
	parts, err := operator.Connect(cmd, path)
	if err != nil {
		return err
	}
	defer parts.Close()
	specs, err := pick.Specs(cmd.Context(), parts)
	if err != nil {
		return err
	}
	e := operator.Emergency{Why: why, Wait: wait, Progress: cmd.ErrOrStderr()}
	if err := e.Prepare(cmd.Context(), parts, specs); err != nil {
		return err
	}
	fmt.Fprint(cmd.ErrOrStderr(), e.Warning())
	if !f.yes {
		return errors.New("nothing was done; give --yes to start")
	}
	r, err := e.Run(cmd.Context())
	if err != nil {
		return err
	}
	if err := errors.Join(f.save(r), printReport(cmd.OutOrStdout(), r, asJSON)); err != nil {
		return err
	}
	if n := len(r.Secrets) - r.Dead(); n > 0 {
		return fmt.Errorf("%d of %d leaked versions are not proven to be dead; run the same command again to follow them", n, len(r.Secrets))
	}
	return nil
}

func (f *emergencyFlags) save(r operator.Report) error {
	if f.report == "" {
		return nil
	}
	text := []byte(r.Text())
	if filepath.Ext(f.report) == ".json" {
		var err error
		if text, err = json.MarshalIndent(r, "", "  "); err != nil {
			return err
		}
		text = append(text, '\n')
	}
	if err := os.WriteFile(f.report, text, 0o600); err != nil {
		return fmt.Errorf("--report: %w", err)
	}
	return nil
}

func printReport(w io.Writer, r operator.Report, asJSON bool) error {
	if asJSON {
		return cli.PrintJSON(w, r)
	}
	_, err := io.WriteString(w, r.Text())
	return err
}
