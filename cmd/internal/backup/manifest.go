package backup

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

const (
	// Format is the [Manifest.Format] that this program writes and reads.
	Format = 1
	// sealedManifest is the type of the sealed manifest.
	sealedManifest = "rotator/backup/v1"
	// maxManifest bounds the first line, in bytes.
	maxManifest = 4 << 20
)

// ErrAltered is wrapped by the error for a file that is not, or is no longer, what a node
// wrote.
var ErrAltered = errors.New("the backup was altered or is not whole")

// Manifest says what a file holds.
type Manifest struct {
	Format int `json:"format_version"`
	// Program is the version of rotator, and MadeBy the person who made the backup.
	Program string    `json:"program"`
	MadeBy  string    `json:"made_by"`
	MadeAt  time.Time `json:"made_at"`
	// Streams are the snapshots, in the order of the file.
	Streams []Stream `json:"streams"`
	// LeftOut are the files with keys, which have to be kept elsewhere.
	LeftOut []string `json:"left_out"`
}

// Stream is the snapshot of one stream.
type Stream struct {
	Name string `json:"name"`
	// Config and State are what the server says of the stream.
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
	Bytes  int64           `json:"bytes"`
	SHA256 string          `json:"sha256"`
}

// names returns the names of the streams.
func (m Manifest) names() []string {
	out := make([]string, len(m.Streams))
	for i, s := range m.Streams {
		out[i] = s.Name
	}
	return out
}

// File is a backup that was verified.
type File struct {
	Manifest Manifest
	// KeyID names the key that sealed the manifest.
	KeyID string

	f     *os.File
	start int64 // of the first snapshot
}

// Open opens a file and verifies all of it: a key that trusted accepts has sealed the
// manifest, and every byte is as the manifest says. The error wraps [ErrAltered] if it is
// not.
func Open(path string, trusted func(ed25519.PublicKey) bool) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b := &File{f: f}
	if err := b.readManifest(trusted); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	if err := b.verify(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return b, nil
}

// Close closes the file.
func (b *File) Close() error { return b.f.Close() }

func (b *File) readManifest(trusted func(ed25519.PublicKey) bool) error {
	line, err := bufio.NewReader(io.LimitReader(b.f, maxManifest)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: it does not begin with a manifest", ErrAltered)
	}
	sealed, err := events.ParseSealed(line)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAltered, err)
	}
	key, err := sealed.Key()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAltered, err)
	}
	if !trusted(key) {
		return fmt.Errorf("key %s signed it, which is not trusted here: put the signing key of the node into the data directory, or give its public key with --key", sealed.KeyID)
	}
	if err := sealed.Open(sealedManifest, &b.Manifest); err != nil {
		return fmt.Errorf("%w: %w", ErrAltered, err)
	}
	if b.Manifest.Format != Format {
		return fmt.Errorf("its format is %d, and this program reads %d", b.Manifest.Format, Format)
	}
	if again, err := encode(sealed); err != nil || !bytes.Equal(again, line) {
		return fmt.Errorf("%w: the manifest is written in another way than this program does", ErrAltered)
	}
	b.KeyID, b.start = sealed.KeyID, int64(len(line))
	return nil
}

// encode returns the first line of a file.
func encode(s events.Sealed) ([]byte, error) {
	line, err := json.Marshal(s)
	return append(line, '\n'), err
}

// verify reads all snapshots.
func (b *File) verify() error {
	end := b.start
	for _, s := range b.Manifest.Streams {
		if s.Bytes < 0 {
			return fmt.Errorf("%w: the size of %s is negative", ErrAltered, s.Name)
		}
		end += s.Bytes
	}
	info, err := b.f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != end {
		return fmt.Errorf("%w: it has %d bytes, and its manifest says %d", ErrAltered, info.Size(), end)
	}
	return b.each(func(_ Stream, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
}

// each calls fn with every snapshot. The reader fails at the end of a snapshot that is not
// that of the manifest.
func (b *File) each(fn func(Stream, io.Reader) error) error {
	at := b.start
	for _, s := range b.Manifest.Streams {
		if err := fn(s, &checked{r: io.NewSectionReader(b.f, at, s.Bytes), hash: sha256.New(), want: s.SHA256}); err != nil {
			return fmt.Errorf("stream %s: %w", s.Name, err)
		}
		at += s.Bytes
	}
	return nil
}

// checked reads one snapshot, and returns an error in place of io.EOF if it differs.
type checked struct {
	r    io.Reader
	hash hash.Hash
	want string
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.hash.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(c.hash.Sum(nil)) != c.want {
		return n, fmt.Errorf("%w: its SHA-256 is not that of the manifest", ErrAltered)
	}
	return n, err
}

// missing returns the names of want that are not in the manifest, and those of the manifest
// that are not in want.
func (m Manifest) missing(want []string) (missing, other []string) {
	have := m.names()
	for _, name := range want {
		if !slices.Contains(have, name) {
			missing = append(missing, name)
		}
	}
	for _, name := range have {
		if !slices.Contains(want, name) {
			other = append(other, name)
		}
	}
	return missing, other
}
