package awssm

import (
	"context"
	"errors"
	"fmt"
	"time"

	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

var _ store.Deleter = (*Driver)(nil)

// Delete implements [store.Deleter]. AWS keeps the secret for 30 days, in which
// RestoreSecret brings it back and no secret of the name can be made. It has no condition
// for that: what is current is read right before.
func (d *Driver) Delete(ctx context.Context, path string, current secret.VersionID) error {
	_, l, err := d.describe(ctx, path)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if cur := l.at(secret.StageCurrent); cur != current {
		return fmt.Errorf("%w: the current version is %q, not %q", store.ErrConflict, cur, current)
	}
	defer d.memory.saw(path, nil, time.Now())
	_, err = d.api.DeleteSecret(ctx, &sm.DeleteSecretInput{SecretId: &path}, d.write)
	return classify(ctx, err)
}
