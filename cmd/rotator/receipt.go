package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

func receiptCommand(path *string) *cobra.Command {
	var version, out string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "receipt ID",
		Short: "Show why versions of a secret were retired",
		Long: `Prints the receipts of the retirements of a secret: who used it when its older
versions were retired, as their records said, what the decision rests on, and how
many instances a timer would have broken. A worker signs and stores a receipt
before it retires anything.

Each receipt is checked as 'rotator receipt verify' does. With --out they are also
written to a file, which proves itself: nothing else is needed to verify it.

The exit code is 1 when there is no receipt, or one that is not valid.`,
		Example: `  rotator receipt ORDERS_DB
  rotator receipt ORDERS_DB --version b95d1402-5c0e-8d4b-9f5d-0c1f0b1f9a77 --out receipt.json`,
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := secret.ParseID(args[0])
			if err != nil {
				return cli.UsageError{Err: err}
			}
			checked, stored, err := operator.Receipts(cmd, *path, id, secret.VersionID(version))
			if err == nil && len(checked) == 0 {
				err = fmt.Errorf("no receipt of %s is stored", id)
			}
			if err == nil && out != "" {
				err = operator.SaveNew(out, stored)
			}
			if err != nil {
				return err
			}
			return printReceipts(cmd.OutOrStdout(), checked, asJSON)
		},
	}
	cmd.Flags().StringVar(&version, "version", "", "only the receipts about this `VERSION`")
	cmd.Flags().StringVar(&out, "out", "", "also write the receipts to a new `FILE`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	cmd.AddCommand(receiptVerifyCommand())
	return cmd
}

func receiptVerifyCommand() *cobra.Command {
	var key string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check receipts without a bus and without a configuration",
		Long: `Reads receipts, - being standard input, and checks each: its signature, whether the
records in it allow the retirement by the same rules that the worker used, whether
everything else that it says follows from them, and whether it names the receipt
before it in the file.

A receipt holds the key that signed it. Without --key the command says which one
that is, and does not say whether to trust it.

Exit codes:
  0  every receipt is valid
  1  one is not
  2  the command line is wrong, or the file cannot be read`,
		Example: `  rotator receipt verify receipt.json --key signing.key.pub`,
		Args:    cli.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			checked, err := operator.CheckReceiptFile(cmd, args[0], key)
			if err != nil {
				return err
			}
			return printReceipts(cmd.OutOrStdout(), checked, asJSON)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "`FILE` with the public key that has to have signed, in PEM")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of objects")
	return cmd
}

// printReceipts prints receipts and returns an error if one is not valid.
func printReceipts(w io.Writer, all []inspect.CheckedReceipt, asJSON bool) error {
	bad := 0
	var err error
	for _, c := range all {
		if !c.Valid {
			bad++
		}
		if !asJSON {
			_, werr := fmt.Fprintln(w, c.Sentence())
			err = errors.Join(err, werr)
		}
	}
	if asJSON {
		err = cli.PrintJSON(w, all)
	}
	if bad > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d receipts are not valid", bad, len(all)))
	}
	return err
}
