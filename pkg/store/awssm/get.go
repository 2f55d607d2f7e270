package awssm

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Get implements [store.Driver].
func (d *Driver) Get(ctx context.Context, path string, sel store.Selector) (secret.Version, secret.Value, error) {
	in, stage, err := wanted(path, sel)
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	out, err := d.value(ctx, path, in)
	if errors.Is(err, store.ErrNotFound) {
		err = d.whyNoValue(ctx, path, sel, err)
	}
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	v := labels{out.id: out.labels}.versions()[0]
	if stage != "" && v.Stage != stage {
		return secret.Version{}, secret.Value{}, fmt.Errorf("%w: no %s version", store.ErrNotFound, stage)
	}
	v.CreatedAt = d.memory.version(path, v.ID).created
	return v, out.value, nil
}

// wanted translates a selector. A stage is checked against the labels of the
// answer: a label alone does not say it. The current version is asked for by
// its label, because a policy may be about that.
func wanted(path string, sel store.Selector) (in *sm.GetSecretValueInput, stage secret.Stage, err error) {
	in = &sm.GetSecretValueInput{SecretId: &path}
	if sel.Version != "" {
		in.VersionId = ptr(string(sel.Version))
		return in, "", nil
	}
	switch sel.Stage {
	case "", secret.StageCurrent:
		in.VersionStage, stage = ptr(labelCurrent), secret.StageCurrent
	case secret.StagePending:
		in.VersionStage, stage = ptr(labelPending), secret.StagePending
	case secret.StagePrevious:
		in.VersionStage, stage = ptr(labelPrevious), secret.StagePrevious
	default:
		return nil, "", fmt.Errorf("%w: no version can be found by the stage %s", store.ErrNotFound, sel.Stage)
	}
	return in, stage, nil
}

// read is a version as GetSecretValue answers it.
type read struct {
	id     secret.VersionID
	labels []string
	value  secret.Value
}

// value calls GetSecretValue and learns from the answer what never changes.
func (d *Driver) value(ctx context.Context, path string, in *sm.GetSecretValueInput) (read, error) {
	out, err := d.api.GetSecretValue(ctx, in, d.read)
	if err != nil {
		return read{}, classify(ctx, err)
	}
	r := read{id: secret.VersionID(aws.ToString(out.VersionId)), labels: out.VersionStages}
	switch {
	case out.SecretString != nil:
		r.value = secret.NewValue([]byte(*out.SecretString))
	case out.SecretBinary != nil:
		r.value = secret.NewValue(out.SecretBinary)
	default:
		return read{}, fmt.Errorf("%w: %s", store.ErrNoValue, r.id)
	}
	d.memory.used(path, out.SecretString == nil)
	d.memory.learn(path, r.id, known{created: aws.ToTime(out.CreatedDate).UTC(), filled: true})
	return r, nil
}

// whyNoValue tells a version that has no value from one that is not there. AWS
// answers both alike.
func (d *Driver) whyNoValue(ctx context.Context, path string, sel store.Selector, cause error) error {
	_, l, err := d.describe(ctx, path)
	if err != nil {
		return err
	}
	if v, err := sel.Find(secret.Metadata{Versions: l.versions()}); err == nil {
		return fmt.Errorf("%w: %s", store.ErrNoValue, v.ID)
	}
	return cause
}
