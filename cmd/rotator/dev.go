package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/dev"
	"github.com/tradepulse/rotator/cmd/internal/telemetry"
)

func devCommand() *cobra.Command {
	var o dev.Options
	var asJSON, plain bool
	var level string
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in this process and watch secrets rotate",
		Long: `Runs an embedded NATS server and store, a scheduler, two workers, the notifier
and two demo services in this process, with secrets that live for seconds: one
service signs audit records with TRADEPULSE_AUDIT_SECRET_ID, three instances of
the other accept the bearer token TRADEPULSE_ADMIN_TOKEN_ID. Nothing has to be installed and
nothing is left behind. The store is for Go services; a Python service reads
Vault, OpenBao or AWS, and docs/examples/vault.yaml runs a node on one of them.

On a terminal it shows, live, which version is current, when it rotates, who
runs it and what happens; in a pipe it prints a line per event. On a terminal
an instance is frozen after 20 s: the old version does not die, and the view says
why, and what ends the wait. The keys do more: f freezes an instance, k kills one,
b breaks a reload, c cuts the bus, w deploys an instance to the wrong environment.

It ends on Ctrl-C, or by itself after --for. The exit code is 0 only when every rotation
but the one in flight reached its service and every audit record verifies.`,
		Example: `  rotator dev
  rotator dev --for 20s --json | tail -n 1`,
		Args: cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.TTL < 3*time.Second {
				return cli.UsageError{Err: fmt.Errorf("--ttl %s: the least is 3s", o.TTL)}
			}
			if !cmd.Flags().Changed("for") {
				o.For = -1
			} else if o.For < 0 {
				return cli.UsageError{Err: fmt.Errorf("--for %s: it lies in the past", o.For)}
			}
			o.Out = cmd.OutOrStdout()
			o.JSON, o.Terminal = asJSON, !plain && !asJSON && term.IsTerminal(int(os.Stdout.Fd()))
			if level != "" {
				log, err := telemetry.NewLogger(cmd.ErrOrStderr(), level, "auto")
				if err != nil {
					return cli.UsageError{Err: err}
				}
				o.Logger = log
			}
			sum, err := dev.Run(cmd.Context(), o)
			if asJSON {
				if jerr := json.NewEncoder(cmd.OutOrStdout()).Encode(sum); jerr != nil {
					return jerr
				}
			} else if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "\n%s\n", sum)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.DurationVar(&o.For, "for", 0, "stop by itself after this time; 0s stops at once")
	f.DurationVar(&o.TTL, "ttl", 8*time.Second, "lifetime of the two secrets")
	f.StringVar(&o.DataDir, "data-dir", "", "keep the server's files here instead of in a temporary folder")
	f.BoolVar(&asJSON, "json", false, "print an object per line, the summary last")
	f.BoolVar(&plain, "plain", false, "print lines on a terminal too")
	f.StringVar(&level, "log-level", "", "also log to standard error: debug, info, warn or error")
	return cmd
}
