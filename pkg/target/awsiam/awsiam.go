// Package awsiam makes access keys of a user of AWS IAM the values of a secret.
//
// IAM makes the keys, at most two for a user, so a proposed value is a new key. Each is
// marked in a tag of the user, rotator:ACCESS-KEY-ID, with the secret, the key that was
// current when it was made, and its version. The tag outlives the value. A key that is not
// known to be of the secret is not touched: as long as the user has one, a rotation fails
// and names it by its ID, which is not secret.
//
// A key becomes inactive before it is deleted. Who uses one is known by the time of its
// last use, which IAM tells late. IAM logs no secret key.
//
// The package is proven on an emulator only.
package awsiam

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// FieldID and FieldSecret are the fields of a value that hold the key.
const (
	FieldID     = "/access_key_id"
	FieldSecret = "/secret_access_key"
)

// Config says whose keys a target manages, and how it reaches IAM and STS.
type Config struct {
	// AWS has the region and the credentials of the admin.
	AWS aws.Config
	// Endpoint is where IAM and STS are, "" for those of AWS.
	Endpoint string
	// User has the keys.
	User string
	// Secret has them as its values.
	Secret secret.ID
	// Lag is how long a change may take to reach every endpoint of AWS.
	Lag time.Duration
	// UseLag is how long a use may take to show in IAM.
	UseLag time.Duration
	// Read returns the value of a version, "" for the current one. The error wraps
	// [target.ErrGone] if the store no longer has it.
	Read func(context.Context, secret.VersionID) (secret.Value, error)
}

// Target manages the keys of a user.
type Target struct {
	cfg Config
	iam *iam.Client
}

var (
	_ target.Target    = (*Target)(nil)
	_ target.Inspector = (*Target)(nil)
	_ target.Suspender = (*Target)(nil)
	_ target.Lister    = (*Target)(nil)
	_ target.Checker   = (*Target)(nil)
	_ target.Prober    = (*Target)(nil)
)

// New returns a Target. It makes no call.
func New(c Config) (*Target, error) {
	if c.Read == nil || c.AWS.Credentials == nil {
		return nil, errors.New("awsiam: AWS and Read are required")
	}
	if err := CheckNames(c.User, c.Secret); err != nil {
		return nil, fmt.Errorf("awsiam: %w", err)
	}
	return &Target{c, iam.NewFromConfig(c.AWS, func(o *iam.Options) {
		if c.Endpoint != "" {
			o.BaseEndpoint = &c.Endpoint
		}
	})}, nil
}

var userName = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,64}$`)

// maxKey is how long the name of a secret may be in a tag, of 256 characters, beside a
// version.
const maxKey = 160

// CheckNames returns an error unless IAM takes the name of the user, and a tag that of the
// secret.
func CheckNames(user string, id secret.ID) error {
	if !userName.MatchString(user) {
		return fmt.Errorf("user name %q: IAM takes 1 to 64 letters, digits and characters of _+=,.@-, without the path", user)
	}
	if len(id.Key()) > maxKey {
		return fmt.Errorf("the ID of the secret takes %d characters in a tag, of %d", len(id.Key()), maxKey)
	}
	return nil
}

// Capabilities implements [target.Target].
func (t *Target) Capabilities() target.Capabilities {
	return target.Capabilities{Overlap: target.OverlapDual, InUse: target.InUseLastUsed, Lag: t.cfg.Lag, UseLag: t.cfg.UseLag, Suspends: true}
}

// Propose implements [target.Target]: it makes a key. Before that it deletes the keys that
// it has made for the secret, but for that of the current version: with a rotation that
// waits for room, no version that is in use has one of those.
func (t *Target) Propose(ctx context.Context, c target.Change) (secret.Value, error) {
	s, err := t.look(ctx)
	if err != nil {
		return secret.Value{}, err
	}
	// Not by Change.Current: errors are scrubbed of what that returned, and the keys of an
	// account have their first characters in common.
	spared, err := t.spared(ctx, c.From)
	if err != nil {
		return secret.Value{}, err
	}
	left, foreign, err := t.others(ctx, s, spared)
	if err == nil && len(foreign) > 0 {
		err = t.foreignError(foreign)
	}
	if err != nil {
		return secret.Value{}, err
	}
	for _, k := range left {
		if err := t.remove(ctx, k.id); err != nil {
			return secret.Value{}, fmt.Errorf("remove key %s, which an earlier rotation has left: %w", k.id, err)
		}
	}
	doc := secret.NewValue([]byte(`{"access_key_id":"","secret_access_key":""}`))
	if c.From != "" {
		if doc, err = c.Current(ctx); err != nil {
			return secret.Value{}, fmt.Errorf("read the current key: %w", err)
		}
	}
	return t.issue(ctx, doc, mark{secret: t.cfg.Secret, from: first(spared)})
}

// spared returns the IDs of the keys that must stay: that of the version from which a
// rotation begins, and that of the current one, which may be another by now.
func (t *Target) spared(ctx context.Context, from secret.VersionID) ([]string, error) {
	if from == "" {
		return nil, nil
	}
	var out []string
	for _, v := range []secret.VersionID{from, ""} {
		value, err := t.cfg.Read(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("read the current key: %w", err)
		}
		k, err := Parse(value)
		if err != nil {
			return nil, fmt.Errorf("current version: %w", err)
		}
		out = append(out, k.ID)
	}
	return out, nil
}

// Apply implements [target.Target]: it marks the key with its version, and has an inactive
// one become active.
func (t *Target) Apply(ctx context.Context, c target.Change) (target.Ref, error) {
	k, err := t.pending(ctx, c)
	if err != nil {
		return target.Ref{}, err
	}
	s, found, err := t.await(ctx, k.ID)
	switch {
	case err != nil:
		return target.Ref{}, err
	case !found:
		return target.Ref{}, fmt.Errorf("%w: user %s has no key %s any more", target.ErrRejected, t.cfg.User, k.ID)
	}
	if of := s.marks[k.ID].secret; of != "" && of != t.cfg.Secret {
		return target.Ref{}, fmt.Errorf("%w: key %s is that of secret %s", target.ErrRejected, k.ID, of)
	}
	if !s.active(k.ID) {
		if err := t.setStatus(ctx, k.ID, true); err != nil {
			return target.Ref{}, err
		}
	}
	if err := t.markCurrent(ctx, s, c, k.ID); err != nil {
		return target.Ref{}, err
	}
	return target.Ref{Secret: c.Spec.ID, Version: c.To, Name: k.ID}, t.mark(ctx, s, k.ID, mark{t.cfg.Secret, s.marks[k.ID].from, c.To})
}

// markCurrent marks the key of the current version, which another program may have made.
func (t *Target) markCurrent(ctx context.Context, s state, c target.Change, pending string) error {
	if c.From == "" {
		return nil
	}
	v, err := c.Current(ctx)
	if err != nil {
		return fmt.Errorf("read the current key: %w", err)
	}
	k, _ := Parse(v) // without a key in the value the ID is empty, and the user has no such key
	if k.ID == pending || s.marks[k.ID].secret != "" || !s.has(k.ID) {
		return nil
	}
	return t.mark(ctx, s, k.ID, mark{secret: t.cfg.Secret, version: c.From})
}

// pending reads the pending key.
func (t *Target) pending(ctx context.Context, c target.Change) (Key, error) {
	v, err := c.Pending(ctx)
	if err != nil {
		return Key{}, fmt.Errorf("read the pending key: %w", err)
	}
	k, err := Parse(v)
	if err != nil {
		return k, fmt.Errorf("%w: pending version: %w", target.ErrRejected, err)
	}
	return k, nil
}

// Verify implements [target.Target]: STS has to name the user as the owner of the key.
func (t *Target) Verify(ctx context.Context, c target.Change) error {
	k, err := t.pending(ctx, c)
	if err != nil {
		return err
	}
	return settle(ctx, t.cfg.Lag, func() error { return t.login(ctx, k) })
}

// Probe implements [target.Prober].
func (t *Target) Probe(ctx context.Context, v secret.Value) error {
	k, err := Parse(v)
	if err != nil {
		return fmt.Errorf("%w: %w", target.ErrRejected, err)
	}
	return t.login(ctx, k)
}

// Successor implements [target.Prober]. IAM names the next key.
func (t *Target) Successor(secret.Value) (string, error) { return t.cfg.User, nil }
