package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/gate"
	"github.com/tradepulse/rotator/pkg/secret"
)

func auditCommand(path *string) *cobra.Command {
	cmd := cli.Group(&cobra.Command{
		Use:   "audit",
		Short: "Verify audit logs",
	})
	cmd.AddCommand(auditVerifyCommand(path))
	return cmd
}

func auditVerifyCommand(path *string) *cobra.Command {
	var id, after string
	var merged, asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check every record of an audit log, and name the first bad one",
		Long: `Reads an audit log, - being standard input, and checks each record: its place in
the chain, its MAC under the version of the key that it names, and how it is
written. Versions that do not sign any more are read from the store, which has
them if the secret has retire: keep.

It prints the position of the last record. Keep it elsewhere: records that were
removed at the end do not show otherwise. With --after a log is checked that
continues behind such a position.

Without a configuration the key is in the environment, see 'rotator policy check'.

Exit codes:
  0  every record is genuine
  1  there is a bad record, or a key cannot be had
  2  the command line or the configuration is wrong`,
		Example: `  rotator audit verify audit.log --config docs/examples/tradepulse.yaml
  cat audit.log.1 audit.log | rotator audit verify - --config docs/examples/tradepulse.yaml
  kubectl logs -l app=audit-api --tail=-1 | rotator audit verify - --merged`,
		Args: cli.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v := client.AuditVerifier{Merged: merged}
			var err error
			if v.After, err = parsePosition(after); err != nil {
				return cli.UsageError{Err: fmt.Errorf("--after: %w", err)}
			}
			key, err := secret.ParseID(id)
			if err != nil {
				return cli.UsageError{Err: fmt.Errorf("--secret: %w", err)}
			}
			log, err := openLog(cmd, args[0])
			if err != nil {
				return err
			}
			defer log.Close()
			versions, closeStores, err := operator.Versions(cmd, *path, key)
			if err != nil {
				return err
			}
			v.Key = versions
			res, err := v.Verify(log)
			return errors.Join(printAudit(cmd.OutOrStdout(), args[0], res, err, asJSON), closeStores())
		},
	}
	cmd.Flags().StringVar(&id, "secret", string(gate.AuditSecretID), "`ID` of the secret that is the key")
	cmd.Flags().StringVar(&after, "after", "", "`POSITION` of the record before the first one, as it was printed")
	cmd.Flags().BoolVar(&merged, "merged", false, "records of several processes stand in the log")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}

func openLog(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, cli.UsageError{Err: err}
	}
	return f, nil
}

// verdict is what verifying a log has found.
type verdict struct {
	Log     string    `json:"log"`
	Records int       `json:"records"`
	Chains  int       `json:"chains"`
	Last    string    `json:"last,omitempty"`
	Bad     *badAudit `json:"bad,omitempty"`
}

type badAudit struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

func printAudit(w io.Writer, log string, res client.AuditResult, verified error, asJSON bool) error {
	v := verdict{Log: log, Records: res.Records, Chains: res.Chains}
	if res.Chains == 1 { // of several, one is not where the log ends
		v.Last = position(res.Last)
	}
	bad, is := errors.AsType[*client.AuditError](verified)
	if is {
		v.Bad = &badAudit{Line: bad.Line, Reason: bad.Reason}
	}
	if verified != nil {
		verified = fmt.Errorf("%s: %w", log, verified)
	}
	switch {
	case asJSON && (is || verified == nil):
		return errors.Join(cli.PrintJSON(w, v), verified)
	case verified != nil:
		return verified
	case v.Records == 0:
		_, err := fmt.Fprintf(w, "%s: no records\n", log)
		return err
	case v.Last == "":
		_, err := fmt.Fprintf(w, "%s: ok, %d records in %d chains\n", log, v.Records, v.Chains)
		return err
	default:
		_, err := fmt.Fprintf(w, "%s: ok, %d records; the last is %s\n", log, v.Records, v.Last)
		return err
	}
}

// position names a record so that it can be found again: number and MAC.
func position(r client.AuditRecord) string {
	if r.Seq == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%s", r.Seq, r.MAC)
}

func parsePosition(s string) (r client.AuditRecord, err error) {
	if s == "" {
		return r, nil
	}
	seq, mac, _ := strings.Cut(s, ":")
	r.Seq, err = strconv.ParseUint(seq, 10, 64)
	if r.MAC = mac; err != nil || r.Seq == 0 || len(mac) != 64 {
		return r, fmt.Errorf("%q is no position such as 12:9f86…, the number of a record and its mac", s)
	}
	return r, nil
}
