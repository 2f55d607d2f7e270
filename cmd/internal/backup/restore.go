package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/cmd/internal/embedded"
	"github.com/tradepulse/rotator/pkg/events"
)

// chunkSize is how much of a snapshot goes into one message.
const chunkSize = 128 << 10

// unfinished is the directory in which streams are restored, below the data directory.
const unfinished = "nats.restoring"

// Empty returns an error if a data directory holds anything but files with the given names,
// or those of a master key that was replaced.
func Empty(dir string, keys []string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.ContainsFunc(keys, func(k string) bool { return e.Name() == k || strings.HasPrefix(e.Name(), k+".") }) {
			return fmt.Errorf("%s holds %s: restore into an empty directory, or one with the keys alone; a node that runs there would lose what it has", dir, e.Name())
		}
	}
	return nil
}

// Restore makes the streams in a data directory that is empty but for keys. want are the
// streams that the configuration asks for. A crash leaves a directory that Empty refuses.
func (b *File) Restore(ctx context.Context, dir string, want []string) error {
	if missing, other := b.Manifest.missing(want); len(missing)+len(other) > 0 {
		return fmt.Errorf("the backup is of another configuration: it lacks the streams %q and has %q besides; check nats.prefix and stores", missing, other)
	}
	tmp := filepath.Join(dir, unfinished)
	if err := b.restoreInto(ctx, tmp); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	return os.Rename(tmp, filepath.Join(dir, "nats"))
}

func (b *File) restoreInto(ctx context.Context, dir string) error {
	s, err := embedded.Start(ctx, embedded.Options{StoreDir: dir})
	if err != nil {
		return err
	}
	defer s.Close()
	public, err := s.Operator.PublicKey()
	if err != nil {
		return err
	}
	nc, err := events.Connect(ctx, events.ConnectConfig{Name: "rotator restore", NKey: public, Sign: s.Operator.Sign, InProcess: s.Server})
	if err != nil {
		return err
	}
	defer nc.Close()
	return b.each(func(s Stream, r io.Reader) error { return restore(ctx, nc, s, r) })
}

// restore makes one stream. The server answers every message of the snapshot, and the
// empty one after the last with the stream that it has made.
func restore(ctx context.Context, nc *nats.Conn, s Stream, r io.Reader) error {
	var a struct {
		apiError
		Deliver string `json:"deliver_subject"`
	}
	if err := request(ctx, nc, "STREAM.RESTORE."+s.Name, map[string]any{"config": s.Config, "state": s.State}, &a); err != nil {
		return err
	}
	if err := a.err(); err != nil {
		return err
	}
	buf := make([]byte, chunkSize)
	for {
		n, err := io.ReadFull(r, buf)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return err
		}
		if n > 0 {
			if err := send(ctx, nc, a.Deliver, buf[:n]); err != nil {
				return err
			}
		}
		if last {
			return send(ctx, nc, a.Deliver, nil)
		}
	}
}

// send sends one message of a snapshot. An answer that is empty says to go on.
func send(ctx context.Context, nc *nats.Conn, subject string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, subject, data)
	if err != nil || len(m.Data) == 0 {
		return err
	}
	var a apiError
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return err
	}
	return a.err()
}
