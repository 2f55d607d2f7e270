package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/store"
)

func keysCommand(path *string) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "keys",
		Short: "Make keys, and rotate those that seal the values of an embedded store",
	})
	name := cmd.PersistentFlags().String("store", "", "the store; without it the only one of type natskv")
	cmd.AddCommand(keysNewCommand(), keysRotateCommand(path, name), keysRotateMasterCommand(path, name), keysChangeMasterCommand(path, name))
	return cmd
}

func keysRotateCommand(path, name *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Seal every value anew with a fresh key and remove the keys before it",
		Long: `Adds a fresh key to the keyset of the store, seals every value anew with it, and
removes the keys before it. Values stay readable throughout, and programs that
run go on. On a cluster it takes at least 45 s. What is interrupted is done by
running it again.`,
		Example: "  rotator keys rotate --config docs/examples/single-node.yaml",
		Args:    cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, called, err := bucket(cmd, *path, *name)
			if err != nil {
				return err
			}
			err = b.RotateKeyset(cmd.Context())
			if errors.Is(err, store.ErrConflict) {
				err = fmt.Errorf("%w; run it again", err)
			}
			if err := errors.Join(err, b.Close()); err != nil {
				return err
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), map[string]string{"store": called})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: every value is sealed with a fresh key\n", called)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}

func keysRotateMasterCommand(path, name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-master",
		Short: "Seal the keyset of a store with a fresh master key and put it in place",
		Long: `Makes a master key, seals the keyset with it, and puts it into the file of the
master key on this machine. The key from before stays beside it, for backups that
it seals. Programs on this machine go on. Copy the file to the other machines that
read the store: programs there go on reading, and write again once they have it.
What is interrupted is done by running it again.

Where the master key is in an environment variable, use change-master.`,
		Example: "  rotator keys rotate-master --config docs/examples/single-node.yaml",
		Args:    cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, called, err := bucket(cmd, *path, *name)
			if err != nil {
				return err
			}
			kept, err := operator.RotateMaster(cmd.Context(), b)
			if err := errors.Join(err, b.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the keyset is sealed with a fresh key in %s; the one from before is in %s\n", called, b.MasterKey, kept)
			return err
		},
	}
}

func keysChangeMasterCommand(path, name *string) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "change-master --new FILE",
		Short: "Seal the keyset of a store with another master key",
		Long: `Seals the keyset with the master key in the file, which is made when it does not
exist. Put the file in place of the old one on every machine afterwards: programs
that run go on reading, and write again when they find the new key. Keep the old
one as long as there are backups from before.

When it is not certain whether it came to its end, run it again: if the old master
key does not open the store any more, the new one does.`,
		Example: "  rotator keys change-master --new new-master.key --config docs/examples/single-node.yaml",
		Args:    cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return cli.UsageError{Err: errors.New("--new: name the file of the new master key")}
			}
			b, called, err := bucket(cmd, *path, *name)
			if err != nil {
				return err
			}
			err = operator.ChangeMaster(cmd.Context(), b, file)
			if err := errors.Join(err, b.Close()); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the keyset is sealed with %s now; put that in place of %s on every machine\n", called, file, b.MasterKey)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "new", "", "`FILE` with the new master key, made when it does not exist")
	return cmd
}

// bucket opens an embedded store.
func bucket(cmd *cobra.Command, path, name string) (*wire.Bucket, string, error) {
	o, err := operator.New(cmd, path)
	if err != nil {
		return nil, "", err
	}
	return o.Bucket(cmd.Context(), name)
}
