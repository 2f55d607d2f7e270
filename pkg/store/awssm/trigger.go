package awssm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smithy "github.com/aws/smithy-go"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

var _ store.ExternalRotator = (*Driver)(nil)

// Trigger implements [store.ExternalRotator] by RotateSecret, with the function and the
// rules that the secret has. It asks for one more permission than the rest, and
// for lambda:InvokeFunction on that function.
func (d *Driver) Trigger(ctx context.Context, path string, token secret.Token) error {
	if n := len(token); n < minToken || n > maxToken {
		return fmt.Errorf("%w: a rotation token of %d characters, AWS takes %d to %d", store.ErrInvalid, n, minToken, maxToken)
	}
	defer d.memory.saw(path, nil, time.Now())
	_, err := d.api.RotateSecret(ctx, &sm.RotateSecretInput{SecretId: &path, ClientRequestToken: ptr(string(token))}, d.write)
	if unfinished(err) {
		return fmt.Errorf("%w: %w", store.ErrPending, err)
	}
	return classify(ctx, err)
}

// unfinished recognises what AWS says while AWSPENDING is on a version that is
// not current. There is no error code for it.
func unfinished(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == "InvalidRequestException" && strings.Contains(strings.ToLower(api.ErrorMessage()), "previous rotation")
}
