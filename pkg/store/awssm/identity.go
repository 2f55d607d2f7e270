package awssm

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/tradepulse/rotator/pkg/store"
)

var _ store.Identifier = (*Driver)(nil)

// Identity implements [store.Identifier]: it is the ARN of the caller. A driver over a
// client that [New] was given knows none.
func (d *Driver) Identity(ctx context.Context) (string, error) {
	if d.sts == nil {
		return "", nil
	}
	out, err := d.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", classify(ctx, err)
	}
	return aws.ToString(out.Arn), nil
}
