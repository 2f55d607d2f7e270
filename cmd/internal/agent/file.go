//go:build unix

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
)

// File is where a secret is kept.
type File struct {
	ID   secret.ID
	Path string
	Mode fs.FileMode
	// UID and GID own the file; negative leaves them to the system.
	UID, GID int
	// Reload makes a program use the file. Nil is for a program that reads it at
	// each use.
	Reload Reload
	// Before has Reload called before the file changes, with the path of a temporary
	// file that holds the new value.
	Before bool
}

// Reload makes a program use a file that has changed. Its errors hold neither the value
// nor the one before, which the program may still use.
type Reload interface {
	Reload(ctx context.Context, path string, c client.Change, before secret.Value) error
}

// beside returns the name of a file that belongs to the file.
func (f File) beside(what string) string { return beside(f.Path, what) }

func beside(path, what string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".rotator-"+what)
}

func (f File) temporary() string { return f.beside("tmp") }
func (f File) marker() string    { return f.beside("applied") }

// content returns what is in the file, and false when there is nothing that a
// file of the agent could hold.
func (f File) content() (secret.Value, bool) {
	path, err := f.target()
	if err != nil {
		return secret.Value{}, false
	}
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return secret.Value{}, false
	}
	b, err := read(path, secret.MaxValueLength)
	return secret.NewValue(b), err == nil && len(b) > 0
}

// holds reports whether the file is as it should be, for a value.
func (f File) holds(v secret.Value) bool {
	path, err := f.target()
	if err != nil {
		return false
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != f.Mode || !f.owns(info) {
		return false
	}
	have, ok := f.content()
	return ok && have.Equal(v)
}

func (f File) owns(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (f.UID < 0 || st.Uid == uint32(f.UID)) && (f.GID < 0 || st.Gid == uint32(f.GID))
}

// read returns what is in a file, and an error when that is more than limit.
func read(path string, limit int64) ([]byte, error) {
	b, _, err := readOwned(path, limit)
	return b, err
}

// readOwned is read with what is known of the file. Another user may own its
// directory: a link is not followed, and a pipe that is never written to does not block.
func readOwned(path string, limit int64) ([]byte, fs.FileInfo, error) {
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return b, info, err
}

// write puts a value into the file in one step; when it fails the file is as it
// was. A symbolic link stays, and what it points to is replaced.
func (f File) write(v secret.Value) error {
	path, err := f.target()
	if err != nil {
		return err
	}
	return explain(replace(path, beside(path, "tmp"), v.Reveal(), f.Mode, f.UID, f.GID))
}

// offer puts a value into a temporary file, and returns its path and what removes it.
func (f File) offer(v secret.Value) (path string, remove func(), err error) {
	path = f.beside("next")
	if err := replace(path, f.temporary(), v.Reveal(), f.Mode, f.UID, f.GID); err != nil {
		return "", nil, explain(err)
	}
	return path, func() { _ = os.Remove(path) }, nil // the next offer replaces one that stays
}

// told returns the version that the program was told of last, "" when that is
// not known.
func (f File) told() secret.VersionID {
	b, err := read(f.marker(), secret.MaxVersionIDLength+1)
	v := secret.VersionID(bytes.TrimSpace(b))
	if err != nil || v.Validate() != nil {
		return ""
	}
	return v
}

// tell notes that the program was told of a version.
func (f File) tell(v secret.VersionID) error {
	return replace(f.marker(), f.temporary(), []byte(v+"\n"), 0o600, -1, -1)
}

// untell takes the note away, for good before it returns.
func (f File) untell() error {
	err := os.Remove(f.marker())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(filepath.Dir(f.Path)))
}

// replace puts b into the file at path by way of a temporary one in the same
// directory, which is the same one all the time. Other users can read it at no time.
func replace(path, temporary string, b []byte, mode fs.FileMode, uid, gid int) error {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(replaceIn(dir, filepath.Base(path), filepath.Base(temporary), b, mode, uid, gid), dir.Close())
}

func replaceIn(dir *os.Root, name, temporary string, b []byte, mode fs.FileMode, uid, gid int) error {
	if err := dir.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // one that a crash left
	}
	w, err := dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(w, b, mode, uid, gid), w.Close()); err != nil {
		return errors.Join(err, dir.Remove(temporary))
	}
	if err := dir.Rename(temporary, name); err != nil {
		return errors.Join(err, dir.Remove(temporary))
	}
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func fill(w *os.File, b []byte, mode fs.FileMode, uid, gid int) error {
	if uid >= 0 || gid >= 0 {
		if err := w.Chown(uid, gid); err != nil {
			return err
		}
	}
	if err := w.Chmod(mode); err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	return w.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
