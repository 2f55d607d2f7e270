package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/evidence"
	"github.com/tradepulse/rotator/cmd/internal/operator"
)

func evidenceCommand(path *string) *cobra.Command {
	var o evidence.Options
	var from, to string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "evidence",
		Short: "Write what an auditor samples, as files that prove themselves",
		Long: `Writes a directory about a period: the managed secrets with owner, purpose, contact
and policy; every retirement of old values, by its receipt; the exceptions with who
and why; how far the proof covers the secrets; and a random sample. A signed manifest
has the SHA-256 of each file and the last record of each chain. README.txt explains
the directory to an auditor.

The same seed draws the same sample. Without --seed one is made up, and printed.`,
		Example: `  rotator evidence --from 2026-01-01 --to 2026-04-01 --out evidence-q1
  rotator evidence verify evidence-q1`,
		Args: cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := period(&o, from, to); err != nil {
				return cli.UsageError{Err: err}
			}
			if o.Seed == "" {
				o.Seed = rand.Text()
			}
			m, err := operator.WriteEvidence(cmd, *path, o)
			switch {
			case err != nil:
				return err
			case asJSON:
				return cli.PrintJSON(cmd.OutOrStdout(), m)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d secrets, %d rotations, %d exceptions; the sample has the seed %s\n", o.Dir, m.Counts.Secrets, m.Counts.Rotations, m.Counts.Exceptions, m.Seed)
			return err
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "first `TIME` that is included, such as 2026-01-01 or 2026-01-01T08:00:00Z")
	cmd.Flags().StringVar(&to, "to", "", "first `TIME` that is not; without it now")
	cmd.Flags().StringVar(&o.Dir, "out", "", "`DIR` to make; it may exist if it is empty")
	cmd.Flags().StringVar(&o.Seed, "seed", "", "`TEXT` that draws the sample")
	cmd.Flags().IntVar(&o.SampleSize, "sample", 25, "how many rotations the sample has")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the manifest")
	cmd.AddCommand(evidenceVerifyCommand())
	return cmd
}

// period checks the flags of a period, and sets what they say.
func period(o *evidence.Options, from, to string) (err error) {
	if from == "" || o.Dir == "" {
		return errors.New("--from and --out are required")
	}
	if o.SampleSize < 0 {
		return fmt.Errorf("--sample %d: the least is 0", o.SampleSize)
	}
	if o.From, err = operator.ParseMoment(from); err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	o.To = time.Now()
	if to != "" {
		if o.To, err = operator.ParseMoment(to); err != nil {
			return fmt.Errorf("--to: %w", err)
		}
	}
	if !o.From.Before(o.To) {
		return errors.New("--from is not before --to")
	}
	return nil
}

func evidenceVerifyCommand() *cobra.Command {
	var key string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check evidence without a bus and without a configuration",
		Long: `Checks every signature in the directory, that no line is missing, added, altered or
moved, that each record names the one before it about the same secret, that each
retirement follows from what it rests on, and that the tables follow from the lines.
Each record that fails is named.

The directory holds the public key that signed it. Without --key the command says
which one that is, and does not say whether to trust it.

Exit codes:
  0  everything holds
  1  something does not
  2  the command line is wrong, or the directory cannot be read`,
		Example: `  rotator evidence verify evidence-q1 --key signing.key.pub`,
		Args:    cli.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := operator.VerifyEvidence(args[0], key)
			if err != nil {
				return err
			}
			return printEvidence(cmd.OutOrStdout(), args[0], r, asJSON)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "`FILE` with the public key that has to have signed, in PEM")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}

// printEvidence prints what verifying found, and returns an error if something is wrong.
func printEvidence(w io.Writer, dir string, r evidence.Result, asJSON bool) error {
	var err error
	if asJSON {
		err = cli.PrintJSON(w, r)
	} else {
		err = printProblems(w, dir, r)
	}
	if n := len(r.Problems) + r.More; n > 0 {
		err = errors.Join(err, fmt.Errorf("%s does not verify: %d things are wrong", dir, n))
	}
	return err
}

func printProblems(w io.Writer, dir string, r evidence.Result) error {
	for _, p := range r.Problems {
		if _, err := fmt.Fprintf(w, "%s: %q\n", p.File, p.Message); err != nil {
			return err
		}
	}
	if !r.Valid {
		return nil
	}
	trust := "whose trust was not checked"
	if r.Pinned {
		trust = "the one that was given"
	}
	c := r.Manifest.Counts
	_, err := fmt.Fprintf(w, "%s: valid: %d secrets, %d records, %d rotations, %d exceptions; signed by key %s, %s\n", dir, c.Secrets, c.Records, c.Rotations, c.Exceptions, r.KeyID, trust)
	return err
}
