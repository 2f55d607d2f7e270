// Command rotator rotates secrets: it schedules, rotates, shows what is going on
// and what would happen.
package main

//go:generate sh -c "env -u ROTATOR_CONFIG go run . reference > ../../docs/reference/rotator.md"

import (
	"os"
	_ "time/tzdata" // windows need time zones on machines that have none

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/lambda"
)

func main() {
	cmd := root()
	if lambda.Starts(os.Args, os.LookupEnv) {
		cmd.SetArgs([]string{"lambda"})
	}
	os.Exit(cli.Execute(cmd))
}

func root() *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "rotator",
		Short: "Rotate secrets, proven to have reached every process before the old value dies",
		Long: `rotator replaces secrets before they expire and retires the old version once
every process that uses it reports that it runs the new one.

Start with:
  rotator dev                      the whole loop in your terminal, nothing to set up
  rotator config validate FILE     check a configuration
  rotator run --config FILE        run it: a single node, or part of a cluster

` + cli.ExitCodes,
	})
	path := cli.ConfigFlag(cmd)
	cmd.AddCommand(devCommand(), runCommand(path), rotateCommand(path), statusCommand(path), planCommand(path), forgetCommand(path), confirmFleetCommand(path), confirmCommand(path), receiptCommand(path), policyCommand(path), auditCommand(path),
		getCommand(path), putCommand(path), importCommand(path), versionsCommand(path), rollbackCommand(path), applyCommand(path), waitCommand(path), eventsCommand(path), historyCommand(path), explainCommand(path), listCommand(path),
		revokeCommand(path), doctorCommand(path), pauseCommand(path, true), pauseCommand(path, false),
		keysCommand(path), lambdaCommand(path), configCommand(path), cli.VersionCommand(), cli.ReferenceCommand())
	return cmd
}
