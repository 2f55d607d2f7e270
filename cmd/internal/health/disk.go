package health

import (
	"errors"
	"os"
	"path/filepath"
)

// disk is how much of a file system is taken, in percent, if that is known.
type disk struct {
	used  int64
	known bool
}

// probeSize is the size of the file that writable writes: more than the streams write
// for one rotation.
const probeSize = 1 << 20

// writable writes a file beside the streams, syncs it and removes it.
func writable(dir string) error {
	path := filepath.Join(dir, "probe")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeSize))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Remove(path))
}
