//go:build unix

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// maxLinks bounds how many symbolic links are followed, as the kernel does.
const maxLinks = 40

// target returns the path of the file that a program reads at f.Path: where f.Path
// is a symbolic link, what it points to in the end, which need not exist yet. A
// volume of Kubernetes is laid out so, with links through ..data.
//
// Links of other users than root and that of the agent are not followed: a user
// who may write to the directory could have the agent replace any file.
func (f File) target() (string, error) {
	path := f.Path
	for range maxLinks {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return path, nil
		}
		if err != nil {
			return "", err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
			return "", fmt.Errorf("the symbolic link %s belongs to another user: make it one of root or of the agent's user, or set path to the file", path)
		}
		to, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(realDir(path), to)
		}
		path = to
	}
	return "", fmt.Errorf("%s: more than %d symbolic links", f.Path, maxLinks)
}

// realDir returns the directory of a path without links, so that ".." in a link
// means what it means to the kernel.
func realDir(path string) string {
	dir := filepath.Dir(path)
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		return resolved
	}
	return dir
}

// explain adds what to do about an error of a write.
func explain(err error) error {
	if errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("%w: the file is a mount of its own, and cannot be replaced; mount its directory", err)
	}
	return err
}
