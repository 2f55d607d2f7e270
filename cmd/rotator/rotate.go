package main

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
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
		ValidArgsFunction: completeIDs(path, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := secret.ParseID(args[0])
			if err != nil {
				return cli.UsageError{Err: err}
			}
			parts, err := attach(cmd, *path)
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
	spec := e.Spec
	if err != nil && (!errors.Is(err, store.ErrNotFound) || !spec.Create) {
		return rotated{}, err
	}
	from := meta.Current().ID
	by := who()
	q := rotation.Request{Secret: id, Store: spec.Store, From: from, Reason: events.ReasonManual, By: by, At: time.Now()}
	if err := p.Bus.RotateNow(ctx, q.Event(p.Source+"/"+by)); err != nil {
		return rotated{}, err
	}
	out := rotated{SecretID: id, From: from}
	if wait <= 0 {
		return out, nil
	}
	out.To, err = await(ctx, p.Bus, id, from, wait)
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

var errGivenUp = errors.New("the rotation was given up")

// await watches the log until a version after from is announced or the rotation
// is given up.
func await(parent context.Context, bus *events.Bus, id secret.ID, from secret.VersionID, wait time.Duration) (secret.VersionID, error) {
	ctx, cancel := context.WithTimeout(parent, wait)
	defer cancel()
	begin := time.Now()
	var to secret.VersionID
	done := errors.New("done")
	err := bus.WatchLog(ctx, []events.Type{events.TypeRotated, events.TypeRotationFailed}, func(_ context.Context, a events.Announcement) error {
		d := a.Event.Data
		switch {
		case d.SecretID != id:
		case a.Event.Type == events.TypeRotated && d.VersionID != from && d.PreviousVersionID == from:
			to = d.VersionID
			return done
		case a.Event.Type == events.TypeRotationFailed && d.VersionID == from && a.Event.Time.After(begin):
			return fmt.Errorf("%w: %s", errGivenUp, d.Failure.Message)
		}
		return nil
	}, nil)
	switch {
	case errors.Is(err, done):
		return to, nil
	case err != nil:
		return "", err
	case parent.Err() != nil:
		return "", fmt.Errorf("interrupted; the rotation of %s goes on", id)
	default:
		return "", fmt.Errorf("no new version of %s within %s; 'rotator status %s' says what holds it back, or is no worker running?", id, wait, id)
	}
}
