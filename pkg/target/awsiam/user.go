package awsiam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// issueTimeout bounds the making of a key, which the end of a context does not cut short:
// nothing would know the key.
const issueTimeout = 10 * time.Second

// state is what IAM says of the user.
type state struct {
	arn   string
	keys  []key
	marks map[string]mark
}

type key struct {
	id      string
	active  bool
	created time.Time
}

// mark says whose a key is.
type mark struct {
	secret secret.ID
	// from is the key that was current when it was made, "" if there was none or another
	// program has made it.
	from string
	// version is "" before Apply.
	version secret.VersionID
}

// tagPrefix is that of the tags that hold marks.
const tagPrefix = "rotator:"

// noFrom stands for no key in a tag.
const noFrom = "-"

func (m mark) tag(id string) types.Tag {
	text := string(m.secret.Key()) + " " + cmp.Or(m.from, noFrom)
	if m.version != "" {
		text += " " + string(secret.ID(m.version).Key())
	}
	return types.Tag{Key: aws.String(tagPrefix + id), Value: &text}
}

// parseMark returns the zero mark for a text of another origin.
func parseMark(text string) mark {
	fields := strings.Split(text, " ")
	if len(fields) < 2 || len(fields) > 3 {
		return mark{}
	}
	of, err := secret.IDFromKey(secret.Key(fields[0]))
	out := mark{secret: of, from: fields[1]}
	if out.from == noFrom {
		out.from = ""
	}
	if err == nil && len(fields) == 3 {
		of, err = secret.IDFromKey(secret.Key(fields[2]))
		out.version = secret.VersionID(of)
	}
	if err != nil {
		return mark{}
	}
	return out
}

// others returns the keys beside those that must stay: those that are left of rotations of
// the secret, and those that are not known to be.
func (t *Target) others(ctx context.Context, s state, spared []string) (left, foreign []key, err error) {
	for _, k := range s.keys {
		if slices.Contains(spared, k.id) {
			continue
		}
		ours, err := t.ours(ctx, k.id, s.marks[k.id], first(spared))
		if err != nil {
			return nil, nil, err
		}
		if ours {
			left = append(left, k)
		} else {
			foreign = append(foreign, k)
		}
	}
	return left, foreign, nil
}

// ours reports whether a key is known to be made for this secret in this store: another
// installation may have a secret of the same ID and the same user. It was made while the
// same key was current, or a version in the store has it.
func (t *Target) ours(ctx context.Context, id string, m mark, current string) (bool, error) {
	switch {
	case m.secret != t.cfg.Secret:
		return false, nil
	case m.from == current && (current != "" || m.version == ""):
		return true, nil
	case m.version == "":
		return false, nil
	}
	v, gone, err := target.ReadOld(ctx, t.cfg.Read, m.version)
	if err != nil {
		return false, fmt.Errorf("read version %s: %w", m.version, err)
	}
	k, err := Parse(v)
	return !gone && err == nil && k.ID == id, nil
}

// first returns the first string, "" if there is none.
func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

func (s state) has(id string) bool {
	return slices.ContainsFunc(s.keys, func(k key) bool { return k.id == id })
}

func (s state) active(id string) bool {
	return slices.ContainsFunc(s.keys, func(k key) bool { return k.id == id && k.active })
}

// failed names the right that a call needs.
func failed(action string, err error) error {
	if err == nil {
		return nil
	}
	return rightError{action, err}
}

// gone reports whether IAM has answered that there is no such key.
func gone(err error) bool {
	_, ok := errors.AsType[*types.NoSuchEntityException](err)
	return ok
}

// denied reports whether the admin lacks the right.
func denied(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && strings.HasPrefix(e.ErrorCode(), "AccessDenied")
}

// user reads the ARN of the user and the marks of its keys.
func (t *Target) user(ctx context.Context) (state, error) {
	u, err := t.iam.GetUser(ctx, &iam.GetUserInput{UserName: &t.cfg.User})
	if err != nil {
		return state{}, failed("GetUser", err)
	}
	s := state{arn: aws.ToString(u.User.Arn), marks: map[string]mark{}}
	for _, tag := range u.User.Tags {
		if id, ok := strings.CutPrefix(aws.ToString(tag.Key), tagPrefix); ok {
			s.marks[id] = parseMark(aws.ToString(tag.Value))
		}
	}
	return s, nil
}

func (t *Target) arn(ctx context.Context) (string, error) {
	s, err := t.user(ctx)
	return s.arn, err
}

// look reads the user and its keys, the oldest first.
func (t *Target) look(ctx context.Context) (state, error) {
	s, err := t.user(ctx)
	if err != nil {
		return s, err
	}
	pages := iam.NewListAccessKeysPaginator(t.iam, &iam.ListAccessKeysInput{UserName: &t.cfg.User})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s, failed("ListAccessKeys", err)
		}
		for _, k := range page.AccessKeyMetadata {
			s.keys = append(s.keys, key{aws.ToString(k.AccessKeyId), k.Status == types.StatusTypeActive, aws.ToTime(k.CreateDate)})
		}
	}
	slices.SortFunc(s.keys, func(a, b key) int { return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.id, b.id)) })
	return s, nil
}

// issue makes a key, marks it and returns it in a document. A key that cannot be marked is
// deleted.
func (t *Target) issue(ctx context.Context, doc secret.Value, m mark) (secret.Value, error) {
	if _, err := put(doc, noKey, "none"); err != nil { // before there is a key without a place
		return secret.Value{}, fmt.Errorf("current version: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), issueTimeout)
	defer cancel()
	// Without a second attempt: after a lost answer it would make another key.
	made, err := t.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &t.cfg.User}, func(o *iam.Options) { o.Retryer = aws.NopRetryer{} })
	if err != nil {
		return secret.Value{}, failed("CreateAccessKey", err)
	}
	id := aws.ToString(made.AccessKey.AccessKeyId)
	v, err := put(doc, id, aws.ToString(made.AccessKey.SecretAccessKey))
	if err == nil {
		err = t.mark(ctx, state{}, id, m)
	}
	if err == nil {
		return v, nil
	}
	if undo := t.remove(ctx, id); undo != nil {
		err = fmt.Errorf("%w; the new key %s is left at user %s, delete it with '%s': %w", err, id, t.cfg.User, t.remedy(id), undo)
	}
	return secret.Value{}, err
}

// mark writes the mark of a key unless it has that one.
func (t *Target) mark(ctx context.Context, s state, id string, m mark) error {
	if s.marks[id] == m {
		return nil
	}
	_, err := t.iam.TagUser(ctx, &iam.TagUserInput{UserName: &t.cfg.User, Tags: []types.Tag{m.tag(id)}})
	return failed("TagUser", err)
}

// setStatus has a key become active or inactive.
func (t *Target) setStatus(ctx context.Context, id string, active bool) error {
	status := types.StatusTypeInactive
	if active {
		status = types.StatusTypeActive
	}
	_, err := t.iam.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: &t.cfg.User, AccessKeyId: &id, Status: status})
	return failed("UpdateAccessKey", err)
}

// remove deletes a key and its mark. The key becomes inactive first. One that was deleted
// before is a success.
func (t *Target) remove(ctx context.Context, id string) error {
	if err := t.setStatus(ctx, id, false); err != nil && !gone(err) {
		return err
	}
	_, err := t.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &t.cfg.User, AccessKeyId: &id})
	if err != nil && !gone(err) {
		return failed("DeleteAccessKey", err)
	}
	_, err = t.iam.UntagUser(ctx, &iam.UntagUserInput{UserName: &t.cfg.User, TagKeys: []string{tagPrefix + id}})
	return failed("UntagUser", err)
}

// remedy is how a person deletes a key.
func (t *Target) remedy(id string) string {
	return fmt.Sprintf("aws iam delete-access-key --user-name %s --access-key-id %s", t.cfg.User, id)
}

// foreignError names keys that this target has not made.
func (t *Target) foreignError(keys []key) error {
	var named []string
	for _, k := range keys {
		named = append(named, t.foreignText(k))
	}
	return fmt.Errorf("user %s has room for two keys: %s", t.cfg.User, strings.Join(named, "; "))
}

func (t *Target) foreignText(k key) string {
	return fmt.Sprintf("key %s of %s is of no version that is known; if no program needs it, '%s'", k.id, k.created.UTC().Format(time.DateOnly), t.remedy(k.id))
}
