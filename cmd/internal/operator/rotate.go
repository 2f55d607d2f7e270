package operator

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
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

// Rotate asks the workers to rotate a secret now. With a wait it returns when the new
// version is announced, and fails when it is not in time.
func Rotate(ctx context.Context, p *wire.Parts, id secret.ID, wait time.Duration) (Rotated, error) {
	found, err := p.Catalog.Find(ctx, id)
	if err != nil {
		return Rotated{}, Unknown(err, known(p))
	}
	e, meta, err := p.Catalog.Describe(ctx, found.Spec)
	by := User()
	q, err := rotation.Manual(time.Now(), by, e.Spec, meta, err)
	if err != nil {
		return Rotated{}, err
	}
	if err := p.Bus.RotateNow(ctx, q.Event(p.Source+"/"+by)); err != nil {
		return Rotated{}, err
	}
	out := Rotated{SecretID: id, From: q.From}
	if wait > 0 {
		out.To, err = await(ctx, p.Bus, q, wait)
	}
	return out, err
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
	switch {
	case err == nil || !errors.Is(err, ctx.Err()):
		return to, err
	case parent.Err() != nil:
		return "", fmt.Errorf("interrupted; the rotation of %s goes on", q.Secret)
	case errors.Is(bus.TrustsItself(), events.ErrUntrusted):
		return "", fmt.Errorf("no new version of %s within %s: the signing key of this command is not under signing.trusted_keys of its configuration, so that workers with these keys reject the order (event.rejected in their log); add its public key there, or sign with another", q.Secret, wait)
	default:
		return "", fmt.Errorf("no new version of %s within %s; 'rotator status %s' says what holds it back; check that a worker runs, and that it trusts the key of this command (its log says event.rejected otherwise)", q.Secret, wait, q.Secret)
	}
}

// Unknown adds to the error of a secret that was not found what to do: to correct
// the ID, if one of known is close, or to wait for the sweep.
func Unknown(err error, known []string) error {
	if !errors.Is(err, catalog.ErrUnknownSecret) {
		return err
	}
	if _, id, ok := strings.Cut(err.Error(), ": "); ok {
		if like, ok := config.Suggest(id, known); ok {
			return fmt.Errorf("%w; did you mean %s?", err, like)
		}
	}
	return fmt.Errorf("%w; 'rotator status' lists those that are; a secret that was tagged just now is known after the next sweep (scheduler.sweep_every)", err)
}

func known(p *wire.Parts) []string {
	var ids []string
	for _, s := range p.Specs() {
		ids = append(ids, string(s.ID))
	}
	return ids
}
