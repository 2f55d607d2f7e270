package main

import (
	"fmt"
	"os"

	"github.com/nats-io/nkeys"
	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/internal/newfile"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// keyKinds make a key in a new file, and return what others have to be told, or "".
var keyKinds = map[string]func(file string) (public string, err error){
	"signing": newSigningKey,
	"master":  newMasterKey,
	"nkey":    newNKey,
}

func keysNewCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "new KIND FILE",
		Short: "Make a key in a new file: signing, master or nkey",
		Long: `Makes a key in a file that only its owner can read, and never replaces a file.

  signing  signs the events of a program; FILE.pub is for trusted_keys of others
  master   seals the keyset of an embedded store
  nkey     logs a program or service in to NATS; prints the public key, which the
           server has to know`,
		Example: `  rotator keys new signing signing.key
  rotator keys new nkey scheduler.nk`,
		Args:              cli.Exactly(2),
		ValidArgsFunction: cobra.FixedCompletions([]string{"signing", "master", "nkey"}, cobra.ShellCompDirectiveDefault),
		RunE: func(cmd *cobra.Command, args []string) error {
			generate, ok := keyKinds[args[0]]
			if !ok {
				return cli.UsageError{Err: fmt.Errorf("unknown kind of key %q; want signing, master or nkey", args[0])}
			}
			public, err := generate(args[1])
			if err != nil {
				return err
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), map[string]string{"kind": args[0], "file": args[1], "public": public})
			}
			if public == "" {
				return nil
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), public)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}

// newSigningKey returns the file of the public key.
func newSigningKey(file string) (string, error) {
	s, err := events.GenerateSigner()
	if err != nil {
		return "", err
	}
	return file + ".pub", s.Save(file)
}

func newMasterKey(file string) (string, error) {
	_, err := natskv.GenerateMasterKey(file)
	return "", err
}

func newNKey(file string) (string, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return "", fmt.Errorf("nkey: %w", err)
	}
	defer pair.Wipe()
	seed, err := pair.Seed()
	if err != nil {
		return "", fmt.Errorf("nkey: %w", err)
	}
	if err := newfile.Write(file, append(seed, '\n'), 0o600); err != nil {
		return "", fmt.Errorf("nkey: %w", err)
	}
	return pair.PublicKey()
}

// readNKey returns the public key of the seed in a file.
func readNKey(file string) (string, error) {
	seed, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	pair, err := nkeys.ParseDecoratedNKey(seed)
	if err != nil {
		return "", fmt.Errorf("nkey %s: %w", file, err)
	}
	defer pair.Wipe()
	return pair.PublicKey()
}
