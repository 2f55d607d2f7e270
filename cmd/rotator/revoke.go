package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/secret"
)

func revokeCommand(path *string) *cobra.Command {
	var force, asJSON bool
	cmd := &cobra.Command{
		Use:   "revoke ID VERSION --force --reason TEXT",
		Short: "Destroy an old version without proof that no process uses it",
		Long: `Revokes a version that is not current at its target and destroys its value, also while
instances use it: for when the old value must be dead now, and you accept what breaks.
Without --force it only says whom it may break. To have a version that leaked replaced
and destroyed with proof, run
'rotator rotate ID --emergency'.

Who did it and why is recorded before it is done, and the receipt of the version says
that it rests on no proof.`,
		Example: `  rotator revoke orders/db-password 6f1c
  rotator revoke orders/db-password 6f1c --force --reason "published in a log" --ticket INC-4711`,
		Args: cli.Exactly(2),
	}
	cmd.Flags().BoolVar(&force, "force", false, "do it, whomever it breaks")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	why := whyFlags(cmd)
	cmd.RunE = onSecret(path, func(cmd *cobra.Command, parts *wire.Parts, id secret.ID) error {
		v := secret.VersionID(cmd.Flags().Arg(1))
		if force && why.Reason == "" {
			return cli.UsageError{Err: errors.New("--reason is required: say why it cannot wait for the proof")}
		}
		out, err := operator.Revoke(cmd.Context(), parts, id, v, force, *why)
		switch {
		case err != nil:
			return err
		case force:
			return printResult(cmd.OutOrStdout(), out, asJSON)
		case asJSON:
			err = cli.PrintJSON(cmd.OutOrStdout(), out)
		}
		return errors.Join(err, fmt.Errorf("nothing was done: %s; give --force to destroy version %s", out.Who(), v))
	})
	return cmd
}
