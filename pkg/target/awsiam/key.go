package awsiam

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// Key is an access key.
type Key struct{ ID, Secret string }

var keyID = regexp.MustCompile(`^[A-Za-z0-9_]{16,128}$`)

// Parse reads the key in a value. Its errors quote nothing of the value.
func Parse(v secret.Value) (Key, error) {
	id, err := v.Field(FieldID)
	key, err2 := v.Field(FieldSecret)
	if err := errors.Join(err, err2); err != nil {
		return Key{}, fmt.Errorf(`the value is not a JSON document with "access_key_id" and "secret_access_key": %w`, err)
	}
	out := Key{string(id.Reveal()), string(key.Reveal())}
	if !keyID.MatchString(out.ID) || out.Secret == "" {
		return Key{}, errors.New("the document has no ID of an access key, or no secret key")
	}
	return out, nil
}

// put returns a document with another key.
func put(doc secret.Value, id, key string) (secret.Value, error) {
	out, err := doc.WithField(FieldID, id)
	if err != nil {
		return secret.Value{}, err
	}
	return out.WithField(FieldSecret, key)
}

// login uses a key once. The error wraps [target.ErrRefused] if the key belongs to another user
// or does not work.
func (t *Target) login(ctx context.Context, k Key) error {
	arn, err := t.arn(ctx)
	if err != nil {
		return err
	}
	c := t.cfg.AWS.Copy()
	c.Credentials = credentials.NewStaticCredentialsProvider(k.ID, k.Secret, "")
	client := sts.NewFromConfig(c, func(o *sts.Options) {
		if t.cfg.Endpoint != "" {
			o.BaseEndpoint = &t.cfg.Endpoint
		}
	})
	got, err := client.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	switch {
	case refused(err):
		err = fmt.Errorf("%w: %w", target.ErrRefused, err)
	case err == nil && aws.ToString(got.Arn) != arn:
		err = fmt.Errorf("%w: the key is that of %s, not of %s", target.ErrRefused, aws.ToString(got.Arn), arn)
	}
	if err != nil {
		err = fmt.Errorf("sts:GetCallerIdentity with key %s: %w", k.ID, err)
	}
	return secret.Scrub(err, secret.NewValue([]byte(k.Secret)))
}

// refused reports whether AWS has answered that a key does not work. That the clock of this
// machine is wrong says nothing about the key.
func refused(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	switch e.ErrorCode() {
	case "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId":
		return true
	case "SignatureDoesNotMatch":
		return !strings.Contains(e.ErrorMessage(), "expired") && !strings.Contains(e.ErrorMessage(), "not yet current")
	default:
		return false
	}
}

// firstPause and maxPause are the pauses between two tries of [settle].
const (
	firstPause = 250 * time.Millisecond
	maxPause   = 2 * time.Second
)

// settle tries again for some time, or until the context ends. It returns the last error.
func settle(ctx context.Context, patience time.Duration, try func() error) error {
	end := time.Now().Add(patience)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := try()
		if err == nil || !time.Now().Add(pause).Before(end) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// listed is how long a key may be missing in the list at most, shorter than what a caller
// of Apply waits.
const listed = 20 * time.Second

var errNotYet = errors.New("not yet")

// await looks at the user until it has a key: IAM may list one late that it has made. It
// returns whether there is one.
func (t *Target) await(ctx context.Context, id string) (s state, found bool, err error) {
	err = settle(ctx, min(t.cfg.Lag, listed), func() error {
		var err error
		if s, err = t.look(ctx); err == nil && !s.has(id) {
			err = errNotYet
		}
		return err
	})
	if errors.Is(err, errNotYet) {
		return s, false, ctx.Err()
	}
	return s, err == nil, err
}
