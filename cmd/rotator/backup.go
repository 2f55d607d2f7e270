package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
)

func backupCommand(path *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write what a single node keeps into a file, while it runs",
		Long: `Writes the secrets, the log of what happened and the records of a single node that
runs into a new file. The values in it stay sealed, as the store keeps them, and the
manifest is signed by the signing key of the node.

The file has no keys. Without the master key it is of no use to a thief, nor to you:
keep the files that the command names elsewhere. It has the names of secrets, services
and persons in the clear.

Who uses which version is not in the file, because it is not true any more when the file
is restored. Stores outside of the node are not in it either.`,
		Example: `  rotator backup rotator-monday.backup --config docs/examples/single-node.yaml`,
		Args:    cli.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := operator.Backup(cmd, *path, args[0])
			switch {
			case err != nil:
				return err
			case asJSON:
				return cli.PrintJSON(cmd.OutOrStdout(), m)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d streams; not in it, to be kept elsewhere: %s\n", args[0], len(m.Streams), strings.Join(m.LeftOut, ", "))
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the manifest")
	return cmd
}

func restoreCommand(path *string) *cobra.Command {
	var key string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make the data directory of a single node from a backup",
		Long: `Checks all of a file that rotator backup wrote, and makes node.data_dir from it. The
directory has to be empty, or to have the files with the keys alone: put them there
first. A file that was altered, is not whole, or is signed by a key that is not trusted
here is refused before anything is written.

Then start the node. The values are those of the time of the backup. What services have
done since is unknown, so nothing that a program may still use is retired: rotator status
says so, until every service has been restarted and rotator confirm-fleet says that none
is missing.

Exit codes:
  0  the directory is made
  1  the file is refused, the directory is not empty, or writing failed
  2  the command line or the configuration is wrong, or there is no such file`,
		Example: `  rotator restore rotator-monday.backup --config docs/examples/single-node.yaml`,
		Args:    cli.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, absent, err := operator.Restore(cmd, *path, args[0], key)
			switch {
			case err != nil:
				return err
			case asJSON:
				return cli.PrintJSON(cmd.OutOrStdout(), map[string]any{"manifest": m, "absent_keys": absent})
			}
			text := "start the node with 'rotator run'"
			if len(absent) > 0 {
				text = "before you start the node, put in place " + strings.Join(absent, ", ")
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d streams are as of %s; %s\n", len(m.Streams), m.MadeAt.Format("2006-01-02T15:04:05Z"), text)
			return err
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "`FILE` with the public key that has to have signed it, in PEM; without it one that the configuration trusts")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}
