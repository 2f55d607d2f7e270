package operator

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Rotated is what came of asking for a rotation.
type Rotated struct {
	SecretID secret.ID        `json:"secret_id"`
	From     secret.VersionID `json:"previous_version_id,omitempty"`
	To       secret.VersionID `json:"version_id,omitempty"`
}

func (r Rotated) String() string {
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

// User names the person at the command line in events and records.
func User() string {
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
	if err == nil || !errors.Is(err, ctx.Err()) {
		return to, err
	}
	return "", late(parent, bus, q.Secret, wait)
}

// late says why a version is not there in time.
func late(parent context.Context, bus *events.Bus, id secret.ID, wait time.Duration) error {
	switch {
	case parent.Err() != nil:
		return fmt.Errorf("interrupted; the rotation of %s goes on", id)
	case errors.Is(bus.TrustsItself(), events.ErrUntrusted):
		return fmt.Errorf("no new version of %s within %s: the signing key of this command is not under signing.trusted_keys of its configuration, so that workers with these keys reject the order (event.rejected in their log); add its public key there, or sign with another", id, wait)
	default:
		return fmt.Errorf("no new version of %s within %s; 'rotator explain %s' says what holds it back; check that a worker runs, and that it trusts the key of this command (its log says event.rejected otherwise)", id, wait, id)
	}
}
