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
	for _, g := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Run it:", []*cobra.Command{devCommand(), runCommand(path), reloadCommand(path), backupCommand(path), restoreCommand(path), lambdaCommand(path), configCommand(path), keysCommand(path), natsCommand(path), targetCommand(path)}},
		{"See what is and what will be:", []*cobra.Command{
			statusCommand(path), listCommand(path), planCommand(path), explainCommand(path), historyCommand(path), eventsCommand(path), waitCommand(path),
		}},
		{"Rotate:", []*cobra.Command{
			rotateCommand(path), applyCommand(path), rollbackCommand(path), pauseCommand(path, true), pauseCommand(path, false), revokeCommand(path),
		}},
		{"Read and write values:", []*cobra.Command{getCommand(path), putCommand(path), importCommand(path), versionsCommand(path), deleteCommand(path)}},
		{"Say what rotator cannot know:", []*cobra.Command{forgetCommand(path), confirmCommand(path), confirmFleetCommand(path)}},
		{"Check and prove:", []*cobra.Command{policyCommand(path), doctorCommand(path), auditCommand(path), receiptCommand(path), evidenceCommand(path)}},
	} {
		cmd.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.title
			cmd.AddCommand(c)
		}
	}
	cmd.AddCommand(cli.VersionCommand(), cli.ReferenceCommand())
	suggest(cmd)
	return cmd
}
