package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

var errInUse = errors.New("another process uses it; end that one, or choose another node.data_dir")

// lock keeps a second server off the directory: the server itself would write
// into the files of the first, and both would lose data.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, "rotator.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, err), f.Close())
	}
	return f, nil
}

// Unused returns an error when another process has the directory. Start checks
// it again.
func Unused(dir string) error {
	f, err := lock(dir)
	if errors.Is(err, errInUse) {
		return fmt.Errorf("node.data_dir: %w", err)
	}
	if err != nil {
		return nil //nolint:nilerr // there is no such directory yet, or Start has more to say
	}
	return f.Close()
}

// free returns an error when the address cannot be had. The server would only
// log that, and not before it has opened its streams.
func free(ctx context.Context, listen string) error {
	if listen == "" {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("node.listen: %w; end the program that has it, or choose another one", err)
	}
	if err != nil {
		return fmt.Errorf("node.listen: %w", err)
	}
	return l.Close()
}
