package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

func keysCommand(path *string) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "keys",
		Short: "Rotate the keys that seal the values of an embedded store",
	})
	name := cmd.PersistentFlags().String("store", "", "the store; without it the only one of type natskv")
	cmd.AddCommand(keysRotateCommand(path, name), keysChangeMasterCommand(path, name))
	return cmd
}

func keysRotateCommand(path, name *string) *cobra.Command {
	return &cobra.Command{
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
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: every value is sealed with a fresh key\n", called)
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
			err = changeMaster(cmd.Context(), b, file)
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

func changeMaster(ctx context.Context, b *wire.Bucket, file string) error {
	if same(file, b.MasterKey.File) {
		return cli.UsageError{Err: fmt.Errorf("--new: %s is the file of the master key in use", file)}
	}
	key, err := natskv.LoadMasterKey(file)
	if errors.Is(err, os.ErrNotExist) {
		key, err = natskv.GenerateMasterKey(file)
	}
	if err != nil {
		return err
	}
	return b.ChangeMasterKey(ctx, key)
}

// same reports whether two names are of one file that exists.
func same(a, b string) bool {
	x, aerr := os.Stat(a)
	y, berr := os.Stat(b)
	return aerr == nil && berr == nil && os.SameFile(x, y)
}

// bucket opens the embedded store of the given name, or the only one there is,
// and returns what it is called.
func bucket(cmd *cobra.Command, path, name string) (*wire.Bucket, string, error) {
	o, err := options(cmd, path)
	if err != nil {
		return nil, "", err
	}
	names := o.Config.With(func(f store.Features) bool { return f.Keyset })
	if name != "" {
		names = slices.DeleteFunc(names, func(other string) bool { return other != name })
	}
	switch {
	case len(names) == 0 && name != "":
		return nil, "", cli.UsageError{Err: fmt.Errorf("--store: %s has no store %q of type natskv", path, name)}
	case len(names) == 0:
		return nil, "", cli.UsageError{Err: fmt.Errorf("%s has no store of type natskv", path)}
	case len(names) > 1:
		return nil, "", cli.UsageError{Err: fmt.Errorf("--store: choose one of %s", strings.Join(names, ", "))}
	}
	if err := runs(cmd.Context(), o, path); err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), reach)
	defer cancel()
	b, err := wire.OpenBucket(ctx, o, names[0])
	if err != nil {
		return nil, "", unreached(err)
	}
	return b, names[0], nil
}
