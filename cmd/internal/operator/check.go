package operator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/gate"
	"github.com/tradepulse/rotator/pkg/secret"
)

// ParseIDs reads the ids that are given as arguments.
func ParseIDs(args []string) ([]secret.ID, error) {
	var out []secret.ID
	for _, a := range args {
		id, err := secret.ParseID(a)
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// ParseFloors reads arguments of the form ID=DURATION; an id may have a = in it, a duration has none.
func ParseFloors(args []string) (map[secret.ID]time.Duration, error) {
	out := map[secret.ID]time.Duration{}
	for _, a := range args {
		i := strings.LastIndexByte(a, '=')
		if i < 0 {
			return nil, fmt.Errorf("%q is not ID=DURATION", a)
		}
		id, err := secret.ParseID(a[:i])
		if err != nil {
			return nil, err
		}
		var d config.DurationOrNone
		if err := d.UnmarshalText([]byte(a[i+1:])); err != nil {
			return nil, fmt.Errorf("%s: %w; write it as 90s, 30m, 1h, 7d or none", id, err)
		}
		out[id] = time.Duration(d)
	}
	return out, nil
}

// Check checks secrets, with floors in place of those that they have.
func Check(ctx context.Context, secrets []gate.Secret, floors map[secret.ID]time.Duration) ([]secret.Finding, error) {
	for i, s := range secrets {
		if d, ok := floors[s.Spec.ID]; ok {
			secrets[i].MinTTL = d
			delete(floors, s.Spec.ID)
		}
	}
	for id := range floors {
		return nil, cli.UsageError{Err: fmt.Errorf("--min-ttl: %s is not among the secrets that are checked", id)}
	}
	return gate.Check(ctx, time.Now(), secrets), ctx.Err()
}
