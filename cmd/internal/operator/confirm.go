package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Confirm records that a consumer uses a version of a secret, which has to be the
// current one. If that is on record already it writes nothing, and returns that
// record and true.
func Confirm(ctx context.Context, p *wire.Parts, c events.Confirmed) (on events.Confirmed, done bool, err error) {
	found, err := lookUp(ctx, p, c.SecretID)
	if err != nil {
		return c, false, err
	}
	e, meta, err := p.Catalog.Describe(ctx, found.Spec)
	if err != nil {
		return c, false, err
	}
	if err := mayConfirm(e.Spec, meta, c); err != nil {
		return c, false, err
	}
	last, err := p.Bus.Confirmations(ctx, c.SecretID, []secret.Consumer{{Name: c.Consumer}})
	if err != nil {
		return c, false, err
	}
	if on := last[c.Consumer]; on.VersionID == c.VersionID {
		return on, true, nil
	}
	c.By, c.At = p.Source+"/"+c.By, time.Now()
	return c, false, p.Bus.RecordConfirmed(ctx, c)
}

// mayConfirm returns why a confirmation says nothing.
func mayConfirm(spec secret.Spec, meta secret.Metadata, c events.Confirmed) error {
	var names []string
	for _, one := range spec.Proof.Consumers {
		names = append(names, one.Name)
	}
	cur := meta.Current().ID
	switch {
	case len(names) == 0:
		return fmt.Errorf("%s has no consumers; list %s under its consumers", spec.ID, c.Consumer)
	case !slices.Contains(names, c.Consumer):
		return fmt.Errorf("%s has no consumer %s; it has %s", spec.ID, c.Consumer, strings.Join(names, ", "))
	case c.VersionID != cur:
		return fmt.Errorf("version %s of %s is not current; bring %s to version %s, and confirm that", c.VersionID, spec.ID, c.Consumer, cur)
	default:
		return nil
	}
}
