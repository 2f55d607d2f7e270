package vault

import (
	"context"
	"fmt"

	"github.com/hashicorp/vault/api"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

var _ store.Deleter = (*Driver)(nil)

// Delete implements [store.Deleter]: it deletes the metadata of the secret, and with them
// every version for good, then the state. The engine has no condition for that: what is
// current is read right before.
func (d *Driver) Delete(ctx context.Context, path string, current secret.VersionID) error {
	path = NormalPath(path)
	v, err := d.view(ctx, path)
	if err != nil {
		return err
	}
	var live secret.VersionID
	if n := v.info.live(); n != 0 {
		live = versionID(n)
	}
	if v.known() && live != current {
		return fmt.Errorf("%w: the current version is %q, not %q", store.ErrConflict, live, current)
	}
	if v.info.exists() {
		if err := d.remove(ctx, d.cfg.metadata(path)); err != nil {
			return err
		}
	}
	if v.state.revision != 0 {
		if err := d.remove(ctx, d.cfg.stateMeta(path)); err != nil {
			return err
		}
	}
	d.memory.edit(path, func(r *remembered) { *r = remembered{} })
	return nil
}

func (d *Driver) remove(ctx context.Context, path string) error {
	_, err := d.call(ctx, func(l *api.Logical) (*api.Secret, error) { return l.DeleteWithContext(ctx, path) })
	return err
}
