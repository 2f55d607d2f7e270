package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/gate"
	"github.com/tradepulse/rotator/pkg/secret"
)

func policyCommand(path *string) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "policy",
		Short: "Check that secrets are fit for use",
	})
	cmd.AddCommand(policyCheckCommand(path))
	return cmd
}

func policyCheckCommand(path *string) *cobra.Command {
	var asJSON bool
	var minTTL []string
	cmd := &cobra.Command{
		Use:   "check [ID...]",
		Short: "Check presence, complexity and remaining lifetime, and list every violation",
		Long: `Reads the secrets with the given ids, or all that the configuration lists, and
lists everything that is wrong at once, each with what to do: a secret that is missing,
a value that breaks its policy, a lifetime of which not more than the floor is
left. It changes nothing, and shows no value.

Without a configuration it looks at environment variables, and the ids are
TRADEPULSE_AUDIT_SECRET_ID and TRADEPULSE_ADMIN_TOKEN_ID: the value is in
TRADEPULSE_AUDIT_SECRET, or in the variable that TRADEPULSE_AUDIT_SECRET_ID
names, and TRADEPULSE_AUDIT_SECRET_ID_TTL_SECONDS sets its lifetime.

The floor is min_ttl of the configuration, else 1h for the first of these two,
30m for the second and none for others.

Exit codes:
  0  every secret is fit for use
  1  there are violations, or a server that the configuration names cannot be
     reached
  2  the command line or the configuration is wrong`,
		Example: `  rotator policy check
  rotator policy check --config docs/examples/tradepulse.yaml --min-ttl TRADEPULSE_AUDIT_SECRET_ID=2h
  rotator policy check --json | jq -r '.violations[].remedy'`,
		ValidArgsFunction: cli.CompleteIDs(path, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := operator.ParseIDs(args)
			if err != nil {
				return cli.UsageError{Err: err}
			}
			floors, err := operator.ParseFloors(minTTL)
			if err != nil {
				return cli.UsageError{Err: fmt.Errorf("--min-ttl: %w", err)}
			}
			secrets, closeStores, err := operator.ToCheck(cmd, *path, ids)
			if err != nil {
				return err
			}
			found, err := operator.Check(cmd.Context(), secrets, floors)
			if err := errors.Join(err, closeStores()); err != nil {
				return err
			}
			return printViolations(cmd.OutOrStdout(), len(secrets), found, asJSON)
		},
	}
	cmd.Flags().StringArrayVar(&minTTL, "min-ttl", nil, "floor of a secret in place of its own, as `ID=DURATION`; none is no floor")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}

// violation is a finding of the gate in JSON: the names are those that the gate
// of the Python client has, too.
type violation struct {
	ID      string             `json:"id"`
	Code    secret.FindingCode `json:"code"`
	Problem string             `json:"problem"`
	Remedy  string             `json:"remedy"`
}

func violations(found []secret.Finding) []violation {
	out := make([]violation, len(found)) // an empty array is one in JSON, too
	for i, f := range found {
		out[i] = violation{ID: f.Subject, Code: f.Code, Problem: f.Message, Remedy: f.Remedy}
	}
	return out
}

func are(secrets int) string {
	if secrets == 1 {
		return "1 secret is"
	}
	return fmt.Sprintf("%d secrets are", secrets)
}

func printViolations(w io.Writer, secrets int, found []secret.Finding, asJSON bool) error {
	var err error
	switch {
	case asJSON:
		err = cli.PrintJSON(w, struct {
			Secrets    int         `json:"secrets"`
			Violations []violation `json:"violations"`
		}{secrets, violations(found)})
	case len(found) == 0:
		_, err = fmt.Fprintf(w, "%s fit for use\n", are(secrets))
	default:
		for _, f := range found {
			fmt.Fprintln(w, gate.Line(f))
		}
	}
	if err != nil || len(found) == 0 {
		return err
	}
	return errors.New(gate.Summary(secrets, found))
}
