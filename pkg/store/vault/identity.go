package vault

import (
	"context"

	"github.com/hashicorp/vault/api"

	"github.com/tradepulse/rotator/pkg/store"
)

var _ store.Identifier = (*Driver)(nil)

// Identity implements [store.Identifier]: it is the entity of the token, as in
// entity/ID. A token without one, such as a root token, has no name that is its own.
func (d *Driver) Identity(ctx context.Context) (string, error) {
	got, err := d.call(ctx, func(l *api.Logical) (*api.Secret, error) { return l.ReadWithContext(ctx, "auth/token/lookup-self") })
	if err != nil || got == nil {
		return "", err
	}
	if id, _ := got.Data["entity_id"].(string); id != "" {
		return "entity/" + id, nil
	}
	return "", nil
}
