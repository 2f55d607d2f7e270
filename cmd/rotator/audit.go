package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

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
	var anchors []string
	var overlap time.Duration
	var merged, asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check every record of an audit log, and name the first bad one",
		Long: `Reads an audit log, - being standard input, and checks each record: its place in
the chain, its MAC under the version of the key that it names, and how it is
written. Within a chain keys only move forward: a version that was replaced signs
nothing more, and its records have times of its life, as the store knows it.
Versions that do not sign any more are read from the store, which has them if the
secret has retire: keep.

Records that were removed at the end, and a log that the holder of an old key wrote
anew, show against an anchor only: a position that was kept elsewhere. Services log
one as audit.head after each 1,000 records, and verify prints the last one. With
--after a log is checked that continues behind such a position.

Logs of releases before key.rotated verify as well, with a note.

Without a configuration the key is in the environment, see 'rotator policy check'.

Exit codes:
  0  every record is genuine
  1  there is a bad record, or a key cannot be had
  2  the command line or the configuration is wrong`,
		Example: `  rotator audit verify audit.log --config docs/examples/tradepulse.yaml
  cat audit.log.1 audit.log | rotator audit verify - --config docs/examples/tradepulse.yaml
  kubectl logs -l app=tradepulse-api --tail=-1 | rotator audit verify - --merged`,
		Args: cli.Exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := verifier(after, anchors, merged)
			if err != nil {
				return cli.UsageError{Err: err}
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
			versions, err := operator.Versions(cmd, *path, key)
			if err != nil {
				return err
			}
			v.Key = versions.Read
			if len(versions.Metadata.Versions) > 0 {
				v.Life = client.AuditLives(versions.Metadata, overlap)
			}
			res, err := v.Verify(log)
			return errors.Join(printAudit(cmd.OutOrStdout(), args[0], res, err, asJSON), versions.Close())
		},
	}
	cmd.Flags().StringVar(&id, "secret", string(gate.AuditSecretID), "`ID` of the secret that is the key")
	cmd.Flags().StringVar(&after, "after", "", "`POSITION` of the record before the first one, as it was printed")
	cmd.Flags().StringArrayVar(&anchors, "anchor", nil, "`POSITION` of a record that has to be in the log; may be repeated")
	cmd.Flags().DurationVar(&overlap, "overlap", client.DefaultAuditOverlap, "how long after the next version was made a version may still sign")
	cmd.Flags().BoolVar(&merged, "merged", false, "records of several processes stand in the log")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}

// verifier returns what the flags ask for.
func verifier(after string, anchors []string, merged bool) (client.AuditVerifier, error) {
	v := client.AuditVerifier{Merged: merged}
	if after != "" {
		p, err := parsePosition(after)
		if err != nil {
			return v, fmt.Errorf("--after: %w", err)
		}
		v.After = client.AuditRecord{Seq: p.Seq, MAC: p.MAC}
	}
	for _, text := range anchors {
		p, err := parsePosition(text)
		if err != nil {
			return v, fmt.Errorf("--anchor: %w", err)
		}
		v.Anchors = append(v.Anchors, p)
	}
	return v, nil
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
	Note    string    `json:"note,omitempty"`
	Bad     *badAudit `json:"bad,omitempty"`
}

type badAudit struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

func printAudit(w io.Writer, log string, res client.AuditResult, verified error, asJSON bool) error {
	v := verdict{Log: log, Records: res.Records, Chains: res.Chains, Note: note(res)}
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
	default:
		_, err := fmt.Fprintf(w, "%s: %s\n", log, v.text())
		return err
	}
}

// text says in words what was found in a good log.
func (v verdict) text() string {
	text := fmt.Sprintf("ok, %d records; the last is %s", v.Records, v.Last)
	switch {
	case v.Records == 0:
		return "no records"
	case v.Last == "":
		text = fmt.Sprintf("ok, %d records in %d chains", v.Records, v.Chains)
	}
	if v.Note != "" {
		text += "\nnote: " + v.Note
	}
	return text
}

// position names a record so that it can be found again: number and MAC.
func position(r client.AuditRecord) string {
	if r.Seq == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%s", r.Seq, r.MAC)
}

func parsePosition(s string) (p client.AuditPosition, err error) {
	seq, mac, _ := strings.Cut(s, ":")
	p.MAC = mac
	if p.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil || p.Seq == 0 || len(mac) != 64 {
		return p, fmt.Errorf("%q is no position such as 12:9f86…, the number of a record and its mac", s)
	}
	return p, nil
}

// note returns what a good log leaves unproven.
func note(res client.AuditResult) string {
	switch res.Unannounced {
	case 0:
		return ""
	case 1:
		return "1 change of the key has no key.rotated record: a release before that wrote it"
	default:
		return fmt.Sprintf("%d changes of the key have no key.rotated record: a release before that wrote them", res.Unannounced)
	}
}
