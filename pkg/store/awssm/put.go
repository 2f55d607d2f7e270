package awssm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// The lengths that AWS allows a ClientRequestToken.
const minToken, maxToken = 32, 64

// Put implements [store.Driver]. It is one call if the secret was described a
// moment ago, see the package documentation for what may happen in between.
func (d *Driver) Put(ctx context.Context, path string, w store.Write) (secret.Version, error) {
	if n := len(w.Token); n < minToken || n > maxToken {
		return secret.Version{}, fmt.Errorf("%w: a rotation token of %d characters, AWS takes %d to %d", store.ErrInvalid, n, minToken, maxToken)
	}
	release, err := d.turns.take(ctx, path)
	if err != nil {
		return secret.Version{}, err
	}
	defer release()
	l, err := d.admit(ctx, path, w)
	if err != nil {
		return secret.Version{}, err
	}
	return d.put(ctx, path, w, l)
}

// admit returns the labels under which w may be written. It refuses on fresh
// labels only.
func (d *Driver) admit(ctx context.Context, path string, w store.Write) (labels, error) {
	l, isFresh, err := d.labels(ctx, path)
	if errors.Is(err, store.ErrNotFound) && w.Create {
		if err := d.create(ctx, path); err != nil {
			return nil, err
		}
		_, l, err = d.describe(ctx, path)
		isFresh = true
	}
	if err != nil {
		return nil, err
	}
	refused := l.mayPut(w)
	if refused != nil && !isFresh {
		if _, l, err = d.describe(ctx, path); err != nil {
			return nil, err
		}
		refused = l.mayPut(w)
	}
	return l, refused
}

// create makes a secret without a version: a value given to CreateSecret would
// be current at once. One that another writer has made meanwhile is as good.
func (d *Driver) create(ctx context.Context, path string) error {
	_, err := d.api.CreateSecret(ctx, &sm.CreateSecretInput{Name: &path, Tags: d.cfg.newTags()}, d.write)
	if err = classify(ctx, err); errors.Is(err, store.ErrTokenReused) {
		return nil
	}
	return err
}

// put writes the version under the label AWSPENDING, which AWS takes from the
// version that had it.
func (d *Driver) put(ctx context.Context, path string, w store.Write, l labels) (secret.Version, error) {
	in := d.request(path, w, l)
	in.RotationToken = rotationTokenOf(ctx)
	out, err := d.api.PutSecretValue(ctx, in, d.write)
	if err != nil {
		d.memory.saw(path, nil, time.Now()) // it may have been written all the same
		return secret.Version{}, secret.Scrub(classify(ctx, err), w.Value, secret.NewValue([]byte(aws.ToString(in.RotationToken))))
	}
	id := secret.VersionID(w.Token)
	k := known{filled: true}
	if l[id] == nil && slices.Contains(out.VersionStages, labelPending) {
		k.created = date(out.ResultMetadata)
	}
	d.memory.learn(path, id, k)
	d.memory.used(path, in.SecretString == nil)
	l = l.with(id, out.VersionStages)
	d.memory.saw(path, l, time.Now())
	return d.written(ctx, path, id, l)
}

// request fills in what to write where.
func (d *Driver) request(path string, w store.Write, l labels) *sm.PutSecretValueInput {
	in := &sm.PutSecretValueInput{SecretId: &path, ClientRequestToken: ptr(string(w.Token)), VersionStages: []string{labelPending}}
	if l.holder(labelCurrent) == "" {
		in.VersionStages = append(in.VersionStages, labelUnpromoted)
	}
	value := w.Value.Reveal()
	if !utf8.Valid(value) || d.memory.binary(path) {
		in.SecretBinary = value
	} else {
		in.SecretString = ptr(string(value))
	}
	return in
}

// written returns the version that now has the token. It need not be pending:
// AWS answers alike when it had the version already.
func (d *Driver) written(ctx context.Context, path string, id secret.VersionID, l labels) (secret.Version, error) {
	v := secret.Version{ID: id, Token: secret.Token(id), Stage: l.stage(id)}
	v.CreatedAt = d.memory.version(path, id).created
	if v.CreatedAt.IsZero() {
		if err := d.listDates(ctx, path); err != nil {
			return secret.Version{}, err
		}
		v.CreatedAt = d.memory.version(path, id).created
	}
	return v, nil
}
