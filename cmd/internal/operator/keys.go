package operator

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/wire"
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

// same reports whether two names are of one file that exists.
func same(a, b string) bool {
	x, aerr := os.Stat(a)
	y, berr := os.Stat(b)
	return aerr == nil && berr == nil && os.SameFile(x, y)
}
