package evidence

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// file is one file that is written, and its hash.
type file struct {
	name  string
	f     *os.File
	buf   *bufio.Writer
	hash  hash.Hash
	bytes int64
}

func newFile(dir, name string) (*file, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &file{name: name, f: f, buf: bufio.NewWriter(f), hash: sha256.New()}, nil
}

func (f *file) Write(p []byte) (int, error) {
	f.hash.Write(p) // it never fails
	f.bytes += int64(len(p))
	return f.buf.Write(p)
}

// sum returns what the file holds, which is then on disk.
func (f *file) sum() (File, error) {
	if err := f.buf.Flush(); err != nil {
		return File{}, err
	}
	return File{Name: f.name, Bytes: f.bytes, SHA256: hex.EncodeToString(f.hash.Sum(nil))}, f.f.Sync()
}

func (f *file) Close() error { return f.f.Close() }

// hashFile returns what a file holds.
func hashFile(dir, name string) (File, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return File{Name: name, Bytes: n, SHA256: hex.EncodeToString(h.Sum(nil))}, err
}

// csvRow returns a row of a table. A spreadsheet takes a cell that begins like a
// formula for one, so an apostrophe goes before it.
func csvRow(cells []string) []byte {
	safe := make([]string, len(cells))
	for i, c := range cells {
		if safe[i] = c; c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
			safe[i] = "'" + c
		}
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	_ = w.Write(safe) // a buffer takes everything
	w.Flush()
	return out.Bytes()
}
