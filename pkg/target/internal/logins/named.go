package logins

import (
	"context"
	"fmt"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// Known is the login of a version.
type Known struct {
	Version secret.VersionID
	Login   target.Login
}

// Named reads the logins of versions, by account. A version without a value, or with that
// of an account of another target, has none.
func (c *Config) Named(ctx context.Context, versions []secret.VersionID) (map[string][]Known, error) {
	out := map[string][]Known{}
	for _, v := range versions {
		value, gone, err := target.ReadOld(ctx, c.Read, v)
		if err != nil {
			return nil, fmt.Errorf("read which account version %s uses: %w", v, err)
		}
		if gone {
			continue
		}
		if l, err := c.Parse(value); err == nil {
			out[l.Username] = append(out[l.Username], Known{v, l})
		}
	}
	return out, nil
}
