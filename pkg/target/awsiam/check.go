package awsiam

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/tradepulse/rotator/pkg/target"
)

// noKey is the ID of no key: 0 and 1 are in none.
const noKey = "AKIA0000000000001111"

// Check implements [target.Checker]. It tries what the admin may do with calls that change
// nothing: about a key and a tag that do not exist, and a tag that has its value already.
func (t *Target) Check(ctx context.Context) (target.Report, error) {
	r := target.Report{Server: "AWS IAM, user " + t.cfg.User, Plan: t.plan()}
	var err error
	if r.Admin, err = t.admin(ctx); err != nil {
		return r, err
	}
	s, err := t.look(ctx)
	if denied(err) {
		r.Missing = append(r.Missing, t.missing(err))
	} else if err != nil {
		return r, err
	}
	for _, try := range t.tries(ctx, s) {
		if err := try(); denied(err) {
			r.Missing = append(r.Missing, t.missing(err))
		} else if err != nil && !gone(err) {
			return r, err
		}
	}
	r.Notes = append(r.Notes, "the right iam:CreateAccessKey cannot be tried without making a key: the first rotation does")
	if len(s.marks) == 0 {
		r.Notes = append(r.Notes, "the right iam:TagUser cannot be tried before the first rotation")
	}
	r.Notes = append(r.Notes, fmt.Sprintf("IAM tells the last use of a key late: a retirement waits %s longer than the grace period", t.cfg.UseLag))
	return r, t.traps(ctx, s, &r)
}

// rightError is the error of a call, with the name of the right that it needs.
type rightError struct {
	action string
	err    error
}

func (e rightError) Error() string { return "iam:" + e.action + ": " + e.err.Error() }
func (e rightError) Unwrap() error { return e.err }

func (t *Target) missing(err error) string {
	e, _ := errors.AsType[rightError](err)
	return fmt.Sprintf("the right iam:%s on user %s", e.action, t.cfg.User)
}

// admin names who the target acts as.
func (t *Target) admin(ctx context.Context) (string, error) {
	c := sts.NewFromConfig(t.cfg.AWS, func(o *sts.Options) {
		if t.cfg.Endpoint != "" {
			o.BaseEndpoint = &t.cfg.Endpoint
		}
	})
	who, err := c.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("sts:GetCallerIdentity: %w", err)
	}
	return aws.ToString(who.Arn), nil
}

// tries returns the calls that show what the admin may do.
func (t *Target) tries(ctx context.Context, s state) []func() error {
	id := aws.String(noKey)
	out := []func() error{
		func() error { return t.setStatus(ctx, noKey, false) },
		func() error {
			_, err := t.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &t.cfg.User, AccessKeyId: id})
			return failed("DeleteAccessKey", err)
		},
		func() error {
			_, err := t.iam.UntagUser(ctx, &iam.UntagUserInput{UserName: &t.cfg.User, TagKeys: []string{tagPrefix + noKey}})
			return failed("UntagUser", err)
		},
	}
	for marked, m := range s.marks {
		out = append(out, func() error {
			_, err := t.iam.TagUser(ctx, &iam.TagUserInput{UserName: &t.cfg.User, Tags: []types.Tag{m.tag(marked)}})
			return failed("TagUser", err)
		})
		break
	}
	if len(s.keys) > 0 {
		out = append(out, func() error {
			_, err := t.iam.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &s.keys[0].id})
			return failed("GetAccessKeyLastUsed", err)
		})
	}
	return out
}

// traps adds the keys that keep a rotation from being applied. Before an import there is no
// version with which they could be compared.
func (t *Target) traps(ctx context.Context, s state, r *target.Report) error {
	if len(s.keys) == 0 {
		return nil
	}
	v, err := t.cfg.Read(ctx, "")
	if err != nil {
		r.Notes = append(r.Notes, fmt.Sprintf("whether the keys of the user are of the secret is unknown, as its current version cannot be read: %v", err))
		return nil
	}
	current, broken := Parse(v)
	if broken != nil {
		r.Traps = append(r.Traps, "the current version: "+broken.Error())
	}
	_, foreign, err := t.others(ctx, s, []string{current.ID})
	for _, k := range foreign {
		r.Traps = append(r.Traps, t.foreignText(k))
	}
	return err
}

// plan is what a rotation does.
func (t *Target) plan() []string {
	user := t.cfg.User
	return []string{
		fmt.Sprintf("iam:CreateAccessKey for %s, and iam:TagUser with the ID of the key and the version", user),
		"sts:GetCallerIdentity with the new key, until AWS knows it",
		"after every service uses the new key and IAM has told of no use of the old one: iam:UpdateAccessKey to Inactive, for the soak, and then iam:DeleteAccessKey and iam:UntagUser",
	}
}
