package awssm

import (
	"context"
	"slices"
	"time"

	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Promote implements [store.Driver]. It describes the secret first: AWS checks where
// AWSCURRENT is, and not whether the version still has AWSPENDING.
func (d *Driver) Promote(ctx context.Context, path string, from, to secret.VersionID) error {
	_, l, err := d.describe(ctx, path)
	if err != nil {
		return err
	}
	done, err := l.mayPromote(from, to)
	if done || err != nil {
		return err
	}
	defer d.memory.saw(path, nil, time.Now())
	err = d.promote(ctx, path, to, l)
	if !contested(err) {
		return err
	}
	if _, l, again := d.describe(ctx, path); again == nil {
		if done, why := l.mayPromote(from, to); done || why != nil {
			return why
		}
	}
	return err
}

// promote moves AWSCURRENT to a version, from the one that l shows it on. Where
// AWS attached it to the version by itself, promoting is to take away the mark
// that says so.
func (d *Driver) promote(ctx context.Context, path string, to secret.VersionID, l labels) error {
	holder := l.holder(labelCurrent)
	if holder != to {
		in := &sm.UpdateSecretVersionStageInput{SecretId: &path, VersionStage: ptr(labelCurrent), MoveToVersionId: ptr(string(to))}
		if holder != "" {
			in.RemoveFromVersionId = ptr(string(holder))
		}
		if err := d.move(ctx, in); err != nil {
			return err
		}
	}
	if l.has(to, labelUnpromoted) {
		return d.unlabel(ctx, path, to, labelUnpromoted)
	}
	return nil
}

// Retire implements [store.Driver]. Whatever the mode is, the labels go and the
// value stays, until AWS removes the version. AWS does not list a version without a
// label, so one that is to be revoked gets a label of its own first.
func (d *Driver) Retire(ctx context.Context, path string, v secret.VersionID, mode secret.RetireMode) error {
	l, isFresh, err := d.labels(ctx, path)
	if err != nil {
		return err
	}
	gone, err := l.surplus(v)
	if len(gone) == 0 && !isFresh {
		if _, l, err = d.describe(ctx, path); err != nil {
			return err
		}
		gone, err = l.surplus(v)
	}
	if err != nil {
		return err
	}
	if mode == secret.RetireLater {
		if gone, err = d.labelRetiring(ctx, path, v, l, gone); err != nil {
			return err
		}
	}
	for _, label := range gone {
		if err := d.retireLabel(ctx, path, v, label); err != nil {
			return err
		}
	}
	return nil
}

// labelRetiring labels a version that is to be revoked, and returns the labels that
// have to go from it then. A version that has none is retired already.
func (d *Driver) labelRetiring(ctx context.Context, path string, v secret.VersionID, l labels, gone []string) ([]string, error) {
	label := retiring(v)
	if len(gone) == 0 || l.has(v, label) {
		return slices.DeleteFunc(gone, func(name string) bool { return name == label }), nil
	}
	defer d.memory.saw(path, nil, time.Now())
	return gone, d.move(ctx, &sm.UpdateSecretVersionStageInput{SecretId: &path, VersionStage: &label, MoveToVersionId: ptr(string(v))})
}

// retireLabel takes a label from a version, or finds that it is not there.
func (d *Driver) retireLabel(ctx context.Context, path string, v secret.VersionID, label string) error {
	defer d.memory.saw(path, nil, time.Now())
	err := d.unlabel(ctx, path, v, label)
	if !contested(err) {
		return err
	}
	if _, l, again := d.describe(ctx, path); again == nil && !l.has(v, label) {
		return nil
	}
	return err
}

func (d *Driver) unlabel(ctx context.Context, path string, v secret.VersionID, label string) error {
	return d.move(ctx, &sm.UpdateSecretVersionStageInput{SecretId: &path, VersionStage: &label, RemoveFromVersionId: ptr(string(v))})
}

func (d *Driver) move(ctx context.Context, in *sm.UpdateSecretVersionStageInput) error {
	_, err := d.api.UpdateSecretVersionStage(ctx, in, d.write)
	return classify(ctx, err)
}
