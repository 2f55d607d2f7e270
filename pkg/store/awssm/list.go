package awssm

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// pageSize is the most that ListSecrets gives at once; atOnce is how many calls
// for dates are under way together.
const pageSize, atOnce = 100, 8

// List implements [store.Driver] with one call for every hundred secrets, and
// one for every current version of which this driver does not know the date,
// which is all that were changed since they were made in the first list of a
// process. Whether a pending version has a value is not looked into.
//
// AWS says that a list may be up to five minutes behind.
func (d *Driver) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		in := &sm.ListSecretsInput{MaxResults: aws.Int32(pageSize), Filters: filters(d.cfg.Tags)}
		for {
			page, next, err := d.page(ctx, in)
			if err != nil {
				yield(secret.Metadata{}, err)
				return
			}
			if len(page) == 0 && next != "" {
				page = append(page, secret.Metadata{}) // nothing in scope, and more to come
			}
			for _, m := range page {
				if !yield(m, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			in.NextToken = &next
		}
	}
}

// page returns the secrets of one call and where the next one goes on.
func (d *Driver) page(ctx context.Context, in *sm.ListSecretsInput) (page []secret.Metadata, next string, err error) {
	out, err := d.api.ListSecrets(ctx, in, d.list)
	if err != nil {
		return nil, "", classify(ctx, err)
	}
	entries := slices.DeleteFunc(out.SecretList, func(e types.SecretListEntry) bool {
		return e.DeletedDate != nil || !tagged(e.Tags, d.cfg.Tags) || !d.cfg.Scope.Secret(aws.ToString(e.Name), attributes(e.Tags))
	})
	page = make([]secret.Metadata, len(entries))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, e := range entries {
		g.Go(func() (err error) {
			page[i], err = d.entry(gctx, e)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, "", err
	}
	gone := func(m secret.Metadata) bool { return m.Path == "" }
	return slices.DeleteFunc(page, gone), aws.ToString(out.NextToken), nil
}

// entry returns what the list says of one secret, or nothing when it has been
// deleted since.
//
// The list also shows secrets that the credentials may not look into. Their
// versions are given the date at which the secret was made: one that is managed
// all the same then comes due, and its rotation says what is missing.
func (d *Driver) entry(ctx context.Context, e types.SecretListEntry) (secret.Metadata, error) {
	path, l := aws.ToString(e.Name), newLabels(e.SecretVersionsToStages)
	d.memory.described(path, nil, attributes(e.Tags)[tagKind])
	err := d.findDates(ctx, path, l, aws.ToTime(e.CreatedDate), aws.ToTime(e.LastChangedDate))
	if errors.Is(err, errUndated) {
		// The list is behind: what it calls current has no label any more.
		if m, err := d.Describe(ctx, path); err == nil {
			return m, nil
		}
	}
	m := d.metadata(path, l, e.Tags, lifetime(e.RotationEnabled, e.RotationRules))
	m.Incarnation = incarnation(aws.ToString(e.ARN))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return secret.Metadata{}, nil
	case errors.Is(err, store.ErrAccessDenied), errors.Is(err, errUndated):
		for i := range m.Versions {
			m.Versions[i].CreatedAt = cmp.Or(m.Versions[i].CreatedAt, aws.ToTime(e.CreatedDate).UTC())
		}
		return m, nil
	}
	return m, err
}

// filters asks AWS for one of the tags, to make the list short; tagged does the
// rest. AWS matches the beginning of a key and of a value, does not tell whether
// they belong together, and reads an exclamation mark as "not".
func filters(tags map[string]string) []types.Filter {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if !filterable(key) {
			continue
		}
		out := []types.Filter{{Key: types.FilterNameStringTypeTagKey, Values: []string{key}}}
		if value := tags[key]; filterable(value) {
			out = append(out, types.Filter{Key: types.FilterNameStringTypeTagValue, Values: []string{value}})
		}
		return out
	}
	return nil
}

// filterable reports whether AWS accepts s as the value of a filter.
func filterable(s string) bool {
	const marks = " :_@/+=.-"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') && !strings.ContainsRune(marks, r)
	})
}

// tagged reports whether a secret has every tag that is asked for.
func tagged(have []types.Tag, want map[string]string) bool {
	attrs := attributes(have)
	for key, value := range want {
		if got, ok := attrs[key]; !ok || value != "" && got != value {
			return false
		}
	}
	return true
}
