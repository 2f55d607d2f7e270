package awsiam

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// tracked is since when IAM knows the last use of a key.
var tracked = time.Date(2015, time.April, 22, 0, 0, 0, 0, time.UTC)

// credential is the key of an old version.
type credential struct {
	// id is "" if the version has no key.
	id string
	// of is the value of the version, zero if that is gone.
	of Key
	// other says that the key is that of another version now: of the current one, or of
	// the one that the mark names.
	other bool
	state state
}

// find returns the key of a version, by its value or by its mark. If neither tells, a key
// that is of no version is an error: it may be the one.
func (t *Target) find(ctx context.Context, r target.Ref) (credential, error) {
	current, err := t.cfg.Read(ctx, "")
	if err != nil {
		return credential{}, fmt.Errorf("read the current key: %w", err)
	}
	cur, err := Parse(current)
	if err != nil {
		return credential{}, fmt.Errorf("current version: %w", err)
	}
	value, gone, err := target.ReadOld(ctx, t.cfg.Read, r.Version)
	if err != nil {
		return credential{}, fmt.Errorf("read version %s: %w", r.Version, err)
	}
	c := credential{}
	if c.state, err = t.look(ctx); err != nil {
		return c, err
	}
	if !gone {
		c.of, err = Parse(value)
		c.id = c.of.ID
	}
	if gone || err != nil {
		c.id = cmp.Or(r.Name, c.state.of(t.cfg.Secret, r.Version))
	}
	if unmarked := c.state.unmarked(cur.ID); c.id == "" && len(unmarked) > 0 {
		return c, fmt.Errorf("which key version %s has is unknown: %w", r.Version, t.foreignError(unmarked))
	}
	m := c.state.marks[c.id]
	c.other = c.id == cur.ID || m.secret != "" && m.secret != t.cfg.Secret || m.version != "" && m.version != r.Version
	return c, nil
}

// of returns the key that is marked with a version, "" for none.
func (s state) of(id secret.ID, v secret.VersionID) string {
	for _, k := range s.keys {
		if m := s.marks[k.id]; m.secret == id && m.version == v {
			return k.id
		}
	}
	return ""
}

// unmarked returns the keys that have no mark, but for the current one.
func (s state) unmarked(current string) []key {
	return slices.DeleteFunc(slices.Clone(s.keys), func(k key) bool { return s.marks[k.id].secret != "" || k.id == current })
}

// InUse implements [target.Inspector]. IAM tells a use late: see [target.Capabilities].
func (t *Target) InUse(ctx context.Context, r target.Ref) (target.Usage, error) {
	c, err := t.find(ctx, r)
	if err != nil || c.other || !c.state.has(c.id) {
		return target.Usage{}, err
	}
	used, err := t.iam.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: &c.id})
	if err != nil {
		return target.Usage{}, failed("GetAccessKeyLastUsed", err)
	}
	if last := used.AccessKeyLastUsed; last != nil && last.LastUsedDate != nil {
		return target.Usage{LastUsed: *last.LastUsedDate}, nil
	}
	for _, k := range c.state.keys {
		if k.id == c.id && k.created.Before(tracked) {
			return target.Usage{}, fmt.Errorf("%w: key %s is older than what IAM knows of uses", target.ErrUnsupported, k.id)
		}
	}
	return target.Usage{}, nil
}

// Suspend implements [target.Suspender].
func (t *Target) Suspend(ctx context.Context, r target.Ref) error { return t.toggle(ctx, r, false) }

// Resume implements [target.Suspender]. A key that was deleted does not come back.
func (t *Target) Resume(ctx context.Context, r target.Ref) error { return t.toggle(ctx, r, true) }

func (t *Target) toggle(ctx context.Context, r target.Ref, active bool) error {
	c, err := t.find(ctx, r)
	switch {
	case err != nil:
		return err
	case c.other:
		return fmt.Errorf("%w: version %s", target.ErrCurrent, r.Version)
	case !c.state.has(c.id):
		return nil
	}
	if err := t.setStatus(ctx, c.id, active); err != nil && !gone(err) {
		return err
	}
	return nil
}

// Revoke implements [target.Target]. The key of another version is left alone. Where the
// value is known, it is tried until AWS refuses it.
func (t *Target) Revoke(ctx context.Context, r target.Ref, _ target.Drain) error {
	c, err := t.find(ctx, r)
	if err != nil || c.other || c.id == "" {
		return err
	}
	if err := t.remove(ctx, c.id); err != nil || c.of.ID == "" {
		return err
	}
	return settle(ctx, t.cfg.Lag, func() error {
		err := t.login(ctx, c.of)
		switch {
		case errors.Is(err, target.ErrRefused):
			return nil
		case err == nil:
			return fmt.Errorf("key %s was deleted and works still", c.id)
		default:
			return err
		}
	})
}

// List implements [target.Lister]: the active keys of the user.
func (t *Target) List(ctx context.Context, known []secret.VersionID) ([]target.Credential, error) {
	versions := map[string]secret.VersionID{}
	for _, v := range known {
		value, gone, err := target.ReadOld(ctx, t.cfg.Read, v)
		if err != nil {
			return nil, fmt.Errorf("read which key version %s has: %w", v, err)
		}
		if k, err := Parse(value); !gone && err == nil {
			versions[k.ID] = v
		}
	}
	s, err := t.look(ctx)
	if err != nil {
		return nil, err
	}
	var out []target.Credential
	for _, k := range s.keys {
		if !k.active {
			continue
		}
		c := target.Credential{Ref: target.Ref{Secret: s.marks[k.id].secret, Version: s.marks[k.id].version, Name: k.id}, Remedy: t.remedy(k.id)}
		if v, ok := versions[k.id]; ok {
			c.Secret, c.Version = t.cfg.Secret, v
		}
		out = append(out, c)
	}
	return out, nil
}
