package awssm

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Rotation is what AWS says of a secret that it asks a Lambda to rotate.
type Rotation struct {
	// Enabled is whether AWS rotates the secret.
	Enabled bool
	// Function is the ARN of the Lambda function that AWS asks, "" for none.
	Function string
	// Metadata has the name of the secret as its path. Whether a pending version
	// has a value, and dates, are left out.
	secret.Metadata
}

// Rotation describes a secret as far as a rotation function has to know it
// before each step. Unlike Describe it is one call, always.
func (d *Driver) Rotation(ctx context.Context, path string) (Rotation, error) {
	out, l, err := d.describe(ctx, path)
	if err != nil {
		return Rotation{}, fmt.Errorf("awssm: describe %s: %w", path, err)
	}
	return Rotation{Enabled: aws.ToBool(out.RotationEnabled), Function: aws.ToString(out.RotationLambdaARN), Metadata: secret.Metadata{
		Path: aws.ToString(out.Name), Versions: l.versions(), Attributes: attributes(out.Tags), TTL: lifetime(out.RotationEnabled, out.RotationRules),
	}}, nil
}

// Resolve returns the name and the whole ARN of the secret that AWS knows by a name
// or an ARN. Of an ARN without what AWS puts behind the name, the name cannot be
// told: the end of the name itself may look like that.
func (d *Driver) Resolve(ctx context.Context, path string) (name, arn string, err error) {
	out, _, err := d.describe(ctx, path)
	if err != nil {
		return "", "", fmt.Errorf("awssm: describe %s: %w", path, err)
	}
	return aws.ToString(out.Name), aws.ToString(out.ARN), nil
}

// partial returns an error for an ARN that AWS completed. Which secret it lists
// under that ARN is not known before, so that only the whole ARN or the name will
// do where a secret has one identity.
func partial(path string, out *sm.DescribeSecretOutput) error {
	if whole := aws.ToString(out.ARN); strings.HasPrefix(path, "arn:") && whole != "" && whole != path {
		return fmt.Errorf("%w: the ARN is not whole: it is that of the secret %s; use the name, or the ARN %s", store.ErrInvalid, aws.ToString(out.Name), whole)
	}
	return nil
}

// Place is where a secret is, as its ARN says.
type Place struct{ Region, Account, Name string }

// suffix is the length of what AWS puts behind the name of a secret in its ARN:
// a hyphen and six characters.
const suffix = 7

// ParseARN returns where the secret with an ARN is. The error wraps
// [store.ErrInvalid].
func ParseARN(s string) (Place, error) {
	a, err := arn.Parse(s)
	name, kind := "", "secret:"
	if err == nil && a.Service == "secretsmanager" && len(a.Resource) > len(kind)+suffix && a.Resource[:len(kind)] == kind {
		name = a.Resource[len(kind) : len(a.Resource)-suffix]
	}
	if name == "" || a.Resource[len(a.Resource)-suffix] != '-' || a.Region == "" {
		return Place{}, fmt.Errorf("%w: no ARN of a secret", store.ErrInvalid)
	}
	if _, err := secret.ParseID(name); err != nil {
		return Place{}, fmt.Errorf("%w: no ARN of a secret: %w", store.ErrInvalid, err)
	}
	return Place{Region: a.Region, Account: a.AccountID, Name: name}, nil
}

// MayBeIn reports whether the place can be in a region and in the account of a
// role that is assumed there, as far as these are known: "" is unknown.
func (p Place) MayBeIn(region, role string) bool {
	if p.Region != "" && region != "" && p.Region != region {
		return false
	}
	assumed, err := arn.Parse(role)
	return err != nil || p.Account == "" || p.Account == assumed.AccountID
}

// NormalPath implements [store.PathNormalizer]: List shows a secret of this region
// and account by its name, which may also be read by its ARN.
func (d *Driver) NormalPath(path string) string {
	return NormalPath(path, d.cfg.Region, d.cfg.AssumeRoleARN)
}

// NormalPath returns the name of the secret that an ARN stands for in a region and
// in the account of a role that is assumed there, as [Place.MayBeIn] knows them.
// Every other path is normal as it is.
func NormalPath(path, region, role string) string {
	if p, err := ParseARN(path); err == nil && p.MayBeIn(region, role) {
		return p.Name
	}
	return path
}
