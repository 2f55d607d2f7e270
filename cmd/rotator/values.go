package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/secret"
)

// onSecret returns how a command runs do for the secret that its argument names,
// where the configuration at path runs.
func onSecret(path *string, do func(*cobra.Command, *wire.Parts, secret.ID) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		id, err := secret.ParseID(args[0])
		if err != nil {
			return cli.UsageError{Err: err}
		}
		parts, err := operator.Connect(cmd, *path)
		if err != nil {
			return err
		}
		defer parts.Close()
		return do(cmd, parts, id)
	}
}

// whyFlags adds the flags that say why a person acts.
func whyFlags(cmd *cobra.Command) *operator.Why {
	var why operator.Why
	cmd.Flags().StringVar(&why.Reason, "reason", "", "why; it is recorded")
	cmd.Flags().StringVar(&why.Ticket, "ticket", "", "the ticket or incident; it is recorded")
	return &why
}

// waitFlags adds the flags that say what a command waits for.
func waitFlags(cmd *cobra.Command) *operator.Wait {
	wait := operator.Wait{For: operator.WaitRotated}
	cmd.Flags().Var(&wait, "wait", "what to wait for: none, rotated, converged or retired")
	cmd.Flags().DurationVar(&wait.Timeout, "timeout", time.Minute, "how long to wait, for each of the two: the new version, its rollout")
	return &wait
}

func getCommand(path *string) *cobra.Command {
	var version, field string
	var reveal bool
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Write the value of a secret into a pipe",
		Long: `Reads a version of a secret from its store, with the rights of the person who runs
the command, and writes the value to the standard output, byte for byte. On a
terminal it shows the value only with --reveal. Who read which version, when and why
is recorded first, in the stream RECORD.`,
		Example: `  rotator get orders/db-password | psql-login
  rotator get orders/db --field /password --reveal
  rotator get orders/db-password --version 6f1c --reason "compare with the backup" >old`,
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
	}
	cmd.Flags().StringVar(&version, "version", "", "a version as 'rotator versions' lists it; the current one by default")
	cmd.Flags().StringVar(&field, "field", "", "only this field of a JSON document, as a JSON Pointer such as /password")
	cmd.Flags().BoolVar(&reveal, "reveal", false, "show the value on a terminal")
	why := whyFlags(cmd)
	cmd.RunE = onSecret(path, func(cmd *cobra.Command, parts *wire.Parts, id secret.ID) error {
		terminal := isTerminal(cmd.OutOrStdout())
		if terminal && !reveal {
			return cli.UsageError{Err: errors.New("the standard output is a terminal; pipe the value into a program, or give --reveal to show it")}
		}
		got, err := operator.Get(cmd.Context(), parts, id, secret.VersionID(version), field, *why)
		if err != nil {
			return err
		}
		value := got.Value.Reveal()
		if terminal {
			value = append(value, '\n')
		}
		_, err = cmd.OutOrStdout().Write(value)
		return err
	})
	return cmd
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func putCommand(path *string) *cobra.Command {
	var notAfter string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "put ID",
		Short: "Have a value of your own become current",
		Long: `Reads a value from the standard input and has the workers make it current as they do
with one that they generate: it has to satisfy the policy, work at the target, and
reach every service before the version before it is retired. A value that they
refuse is withdrawn. One line end after the value is dropped. Waits until the new
version is announced. It does not wait for a pause or a freeze; the record of the act
names the freeze.`,
		Example:           `  generate-password | rotator put orders/db-password --reason "the vendor gave us this one" --ticket OPS-7`,
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
	}
	cmd.Flags().StringVar(&notAfter, "not-after", "", "the end of the version's life, as 2027-01-31T12:00:00Z")
	wait := waitFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	why := whyFlags(cmd)
	cmd.RunE = onSecret(path, func(cmd *cobra.Command, parts *wire.Parts, id secret.ID) error {
		value, end, err := supplied(cmd, notAfter)
		if err != nil {
			return err
		}
		out, err := operator.Put(cmd.Context(), parts, id, value, end, *why, *wait)
		if err != nil {
			return err
		}
		return printResult(cmd.OutOrStdout(), out, asJSON)
	})
	return cmd
}

// supplied reads a value, and when it ends.
func supplied(cmd *cobra.Command, notAfter string) (secret.Value, time.Time, error) {
	var end time.Time
	if notAfter != "" {
		var err error
		if end, err = time.Parse(time.RFC3339, notAfter); err != nil || !end.After(time.Now()) {
			return secret.Value{}, end, cli.UsageError{Err: fmt.Errorf("--not-after: %q is not a time to come such as 2027-01-31T12:00:00Z", notAfter)}
		}
	}
	value, err := operator.ReadValue(cmd.InOrStdin())
	if err != nil {
		return value, end, cli.UsageError{Err: err}
	}
	return value, end, nil
}

func printResult(w io.Writer, out fmt.Stringer, asJSON bool) error {
	if asJSON {
		return cli.PrintJSON(w, out)
	}
	_, err := fmt.Fprintln(w, out)
	return err
}

func versionsCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "versions ID",
		Short:             "List the versions of a secret, the newest first",
		Long:              "Lists what the store knows of the versions of a secret. It reads no value.",
		Example:           `  rotator versions orders/db-password`,
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	cmd.RunE = onSecret(path, func(cmd *cobra.Command, parts *wire.Parts, id secret.ID) error {
		all, err := operator.ListVersions(cmd.Context(), parts, id)
		if err != nil {
			return err
		}
		if asJSON {
			return cli.PrintJSON(cmd.OutOrStdout(), all)
		}
		return operator.PrintVersions(cmd.OutOrStdout(), all, time.Now())
	})
	return cmd
}

func rollbackCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rollback ID",
		Short: "Have the value of the previous version become current again",
		Long: `Writes the value of the previous version again, as a new version, which services
follow as they follow every rotation. That is possible while the previous version
still works: until it is retired. Afterwards make a new version with 'rotator rotate'.
It does not wait for a pause or a freeze; the record of the act names the freeze.`,
		Example:           `  rotator rollback orders/db-password --reason "the new one is refused by the replica" --ticket OPS-8`,
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
	}
	wait := waitFlags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	why := whyFlags(cmd)
	cmd.RunE = onSecret(path, func(cmd *cobra.Command, parts *wire.Parts, id secret.ID) error {
		out, err := operator.Rollback(cmd.Context(), parts, id, *why, *wait)
		if err != nil {
			return err
		}
		return printResult(cmd.OutOrStdout(), out, asJSON)
	})
	return cmd
}
