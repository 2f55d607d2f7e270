package awssm

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// The tag that says where the value of a secret belongs, and what it may say.
const (
	tagKind    = "rotator:kind"
	kindBinary = "binary"
	kindString = "string"
)

// Describe implements [store.Driver]. It is one call, unless there is a pending
// version of which this driver does not know whether it has a value, or the
// date of the current one is not known yet.
func (d *Driver) Describe(ctx context.Context, path string) (secret.Metadata, error) {
	out, l, err := d.describe(ctx, path)
	if err == nil {
		err = partial(path, out)
	}
	if err != nil {
		return secret.Metadata{}, err
	}
	if err := d.inspectPending(ctx, path, l); err != nil {
		return secret.Metadata{}, err
	}
	if err := d.findDates(ctx, path, l, aws.ToTime(out.CreatedDate), aws.ToTime(out.LastChangedDate)); err != nil {
		return secret.Metadata{}, err
	}
	m := d.metadata(path, l, out.Tags, lifetime(out.RotationEnabled, out.RotationRules))
	m.Incarnation = incarnation(aws.ToString(out.ARN))
	for i, v := range m.Versions {
		m.Versions[i].Empty = v.Stage == secret.StagePending && !d.memory.version(path, v.ID).filled
	}
	return m, nil
}

// describe calls DescribeSecret and keeps the labels for the calls that follow.
func (d *Driver) describe(ctx context.Context, path string) (*sm.DescribeSecretOutput, labels, error) {
	at := time.Now()
	out, err := d.api.DescribeSecret(ctx, &sm.DescribeSecretInput{SecretId: &path}, d.read)
	if err != nil {
		return nil, nil, classify(ctx, err)
	}
	if skew, ok := middleware.GetAttemptSkew(out.ResultMetadata); ok {
		d.NoteSkew(skew)
	}
	if out.DeletedDate != nil {
		return nil, nil, fmt.Errorf("%w: it is scheduled for deletion at %s; RestoreSecret brings it back", store.ErrDeleted, out.DeletedDate.UTC().Format(time.RFC3339))
	}
	l := newLabels(out.VersionIdsToStages)
	d.memory.described(path, l, attributes(out.Tags)[tagKind])
	d.memory.saw(path, l, at)
	return out, l, nil
}

// labels reads the labels of a secret, or takes those that were read a moment
// ago: then it reports that they are not fresh.
func (d *Driver) labels(ctx context.Context, path string) (l labels, isFresh bool, err error) {
	if l, ok := d.memory.labels(path, time.Now()); ok {
		return l, false, nil
	}
	_, l, err = d.describe(ctx, path)
	return l, true, err
}

func (d *Driver) metadata(path string, l labels, tags []types.Tag, ttl time.Duration) secret.Metadata {
	m := secret.Metadata{Path: path, Versions: l.versions(), Attributes: attributes(tags), TTL: ttl}
	for i, v := range m.Versions {
		m.Versions[i].CreatedAt = d.memory.version(path, v.ID).created
	}
	return m
}

// incarnation returns the part of a secret's ARN that AWS chooses at random when it
// makes the secret.
func incarnation(arn string) string { return arn[strings.LastIndex(arn, "-")+1:] }

func attributes(tags []types.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		out[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return out
}

// inspectPending finds out whether the pending version has a value: AWS makes
// it before a rotation writes one, and a rotation that failed leaves it behind.
// The only way is to ask for the value, which is thrown away.
func (d *Driver) inspectPending(ctx context.Context, path string, l labels) error {
	p := l.at(secret.StagePending)
	if p == "" || d.memory.version(path, p).filled {
		return nil
	}
	_, err := d.value(ctx, path, &sm.GetSecretValueInput{SecretId: &path, VersionId: ptr(string(p))})
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNoValue) {
		return nil
	}
	return err
}

// unchanged is how far apart the dates of a secret's creation and of its last
// change may be for it to count as not changed since.
const unchanged = time.Minute

// errUndated: AWS shows a current version in one place and not in the other.
var errUndated = fmt.Errorf("%w: it does not list the current version yet", store.ErrUnavailable)

// findDates sees to it that the date of the current version is known, and of
// the pending one if AWS gives it.
func (d *Driver) findDates(ctx context.Context, path string, l labels, created, changed time.Time) error {
	missing := d.undated(path, l)
	if len(missing) == 0 {
		return nil
	}
	if !created.IsZero() && !changed.IsZero() && changed.Sub(created) < unchanged {
		for _, v := range missing {
			d.memory.learn(path, v, known{created: created.UTC()})
		}
		return nil
	}
	if err := d.listDates(ctx, path); err != nil {
		return err
	}
	if cur := l.at(secret.StageCurrent); cur != "" && d.memory.version(path, cur).created.IsZero() {
		return errUndated
	}
	return nil
}

// undated returns the versions of which the date matters and is not known.
func (d *Driver) undated(path string, l labels) []secret.VersionID {
	var out []secret.VersionID
	for _, stage := range []secret.Stage{secret.StageCurrent, secret.StagePending} {
		if v := l.at(stage); v != "" && d.memory.version(path, v).created.IsZero() {
			out = append(out, v)
		}
	}
	return out
}

func (d *Driver) listDates(ctx context.Context, path string) error {
	in := &sm.ListSecretVersionIdsInput{SecretId: &path, MaxResults: aws.Int32(100)}
	for {
		out, err := d.api.ListSecretVersionIds(ctx, in, d.list)
		if err != nil {
			return fmt.Errorf("dates of the versions: %w", classify(ctx, err))
		}
		for _, v := range out.Versions {
			d.memory.learn(path, secret.VersionID(aws.ToString(v.VersionId)), known{created: aws.ToTime(v.CreatedDate).UTC()})
		}
		if aws.ToString(out.NextToken) == "" {
			return nil
		}
		in.NextToken = out.NextToken
	}
}
