package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/operator"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

func rotateCommand(path *string) *cobra.Command {
	var wait time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Rotate one secret now",
		Long: `Asks the workers to rotate a secret now, whatever its schedule and its windows
say, and waits until the new version is announced. Asking twice for the same
version rotates once.`,
		Example:           "  rotator rotate TRADEPULSE_AUDIT_SECRET_ID --config docs/examples/tradepulse.yaml",
		Args:              cli.Exactly(1),
		ValidArgsFunction: cli.CompleteIDs(path, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := secret.ParseID(args[0])
			if err != nil {
				return cli.UsageError{Err: err}
			}
			parts, err := operator.Connect(cmd, *path)
			if err != nil {
				return err
			}
			defer parts.Close()
			out, err := rotate(cmd.Context(), parts, id, wait)
			if err != nil {
				return err
			}
			if asJSON {
				return cli.PrintJSON(cmd.OutOrStdout(), out)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), out)
			return err
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", time.Minute, "how long to wait for the new version; 0 only asks")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an object")
	return cmd
}

// rotated is what came of asking for a rotation.
type rotated struct {
	SecretID secret.ID        `json:"secret_id"`
	From     secret.VersionID `json:"previous_version_id,omitempty"`
	To       secret.VersionID `json:"version_id,omitempty"`
}

func (r rotated) String() string {
	if r.To == "" {
		return fmt.Sprintf("%s: asked to rotate away from %s", r.SecretID, orNone(r.From))
	}
	return fmt.Sprintf("%s: %s → %s", r.SecretID, orNone(r.From), r.To)
}

func orNone(v secret.VersionID) string {
	if v == "" {
		return "nothing"
	}
	return string(v)
}

func rotate(ctx context.Context, p *wire.Parts, id secret.ID, wait time.Duration) (rotated, error) {
	found, err := p.Catalog.Find(ctx, id)
	if err != nil {
		return rotated{}, unknown(err)
	}
	e, meta, err := p.Catalog.Describe(ctx, found.Spec)
	by := who()
	q, err := rotation.Manual(time.Now(), by, e.Spec, meta, err)
	if err != nil {
		return rotated{}, err
	}
	if err := p.Bus.RotateNow(ctx, q.Event(p.Source+"/"+by)); err != nil {
		return rotated{}, err
	}
	out := rotated{SecretID: id, From: q.From}
	if wait > 0 {
		out.To, err = await(ctx, p.Bus, q, wait)
	}
	return out, err
}

// who names the person at the command line in the event.
func who() string {
	u, err := user.Current()
	if err != nil || events.ValidToken(u.Username) != nil {
		return "unknown"
	}
	return u.Username
}

// await waits for the new version, and says what to do when there is none.
func await(parent context.Context, bus *events.Bus, q rotation.Request, wait time.Duration) (secret.VersionID, error) {
	ctx, cancel := context.WithTimeout(parent, wait)
	defer cancel()
	to, err := rotation.Await(ctx, bus, q)
	switch {
	case err == nil || !errors.Is(err, ctx.Err()):
		return to, err
	case parent.Err() != nil:
		return "", fmt.Errorf("interrupted; the rotation of %s goes on", q.Secret)
	default:
		return "", fmt.Errorf("no new version of %s within %s; 'rotator status %s' says what holds it back; check that a worker runs", q.Secret, wait, q.Secret)
	}
}
