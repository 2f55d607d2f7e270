package operator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/internal/newfile"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// ChangeMaster seals the keyset of a store with the master key in file, which is
// made if it does not exist.
func ChangeMaster(ctx context.Context, b *wire.Bucket, file string) error {
	if same(file, b.MasterKey.File) {
		return cli.UsageError{Err: fmt.Errorf("--new: %s is the file of the master key in use", file)}
	}
	key, err := natskv.LoadMasterKey(file)
	if errors.Is(err, os.ErrNotExist) {
		key, err = natskv.GenerateMasterKey(file)
	}
	if err != nil {
		return err
	}
	return b.ChangeMasterKey(ctx, key)
}

// RotateMaster seals the keyset of a store with a fresh master key, puts that into the
// file of the one in use, and returns the file to which that one went. Every step can
// be repeated.
func RotateMaster(ctx context.Context, b *wire.Bucket) (kept string, err error) {
	file := b.MasterKey.File
	if file == "" {
		return "", cli.UsageError{Err: fmt.Errorf("the master key is in the %s; use 'rotator keys change-master --new FILE', and set the variable", b.MasterKey)}
	}
	next := file + wire.NextMasterKey
	if err := ChangeMaster(ctx, b, next); err != nil {
		return "", err
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("master key: %w", err)
	}
	sum := sha256.Sum256(old)
	kept = file + ".old-" + hex.EncodeToString(sum[:4])
	if err := os.Link(file, kept); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("keep the master key from before: %w", err)
	}
	if err := newfile.Replace(file, next); err != nil {
		return "", fmt.Errorf("put the new master key in its place: %w; run it again", err)
	}
	return kept, nil
}

// same reports whether two names are of one file that exists.
func same(a, b string) bool {
	x, aerr := os.Stat(a)
	y, berr := os.Stat(b)
	return aerr == nil && berr == nil && os.SameFile(x, y)
}
