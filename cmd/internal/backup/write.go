package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/newfile"
	"github.com/tradepulse/rotator/pkg/events"
)

// Write makes a file with snapshots of the streams, in their order, and returns its
// manifest. m has what is known before. The file is made whole or not at all, and never
// replaces another one.
func Write(ctx context.Context, nc *nats.Conn, seal func(kind string, body any) (events.Sealed, error), path string, streams []string, m Manifest) (Manifest, error) {
	if _, err := os.Lstat(path); err == nil {
		return m, fmt.Errorf("%s: %w; choose another name", path, os.ErrExist)
	}
	body, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return m, err
	}
	m.Format, m.MadeAt, m.Streams = Format, time.Now().UTC(), nil
	err = writeBody(ctx, nc, body, streams, &m)
	if err == nil {
		err = join(path, seal, m, body)
	}
	return m, errors.Join(err, body.Close(), os.Remove(body.Name()))
}

// writeBody writes the snapshots, and lists them in the manifest.
func writeBody(ctx context.Context, nc *nats.Conn, w io.Writer, streams []string, m *Manifest) error {
	for _, name := range streams {
		hash := sha256.New()
		count := &counter{w: io.MultiWriter(w, hash)}
		s, err := snapshot(ctx, nc, name, count)
		if err != nil {
			return fmt.Errorf("stream %s: %w", name, err)
		}
		m.Streams = append(m.Streams, Stream{Name: name, Config: s.Config, State: s.State, Bytes: count.n, SHA256: hex.EncodeToString(hash.Sum(nil))})
	}
	return nil
}

// join makes the file of the manifest and the snapshots.
func join(path string, seal func(string, any) (events.Sealed, error), m Manifest, body io.ReadSeeker) error {
	sealed, err := seal(sealedManifest, m)
	if err != nil {
		return err
	}
	line, err := encode(sealed)
	if err != nil {
		return err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return newfile.WriteFrom(path, 0o600, func(w io.Writer) error {
		if _, err := w.Write(line); err != nil {
			return err
		}
		_, err := io.Copy(w, body)
		return err
	})
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// patience is how long the server may take for one answer.
const patience = 30 * time.Second

// apiError is what the API of JetStream answers besides what was asked for.
type apiError struct {
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

func (e apiError) err() error {
	if e.Error == nil {
		return nil
	}
	return errors.New(e.Error.Description)
}

// snapshotAnswer is the answer to the request for a snapshot.
type snapshotAnswer struct {
	apiError
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

// snapshot writes the snapshot of a stream to w. The server sends it in messages, waits for
// an answer to some of them, and ends with one that has a status.
func snapshot(ctx context.Context, nc *nats.Conn, stream string, w io.Writer) (snapshotAnswer, error) {
	var a snapshotAnswer
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return a, err
	}
	defer func() { _ = sub.Unsubscribe() }()             // fails only when the connection is closed
	if err := sub.SetPendingLimits(-1, -1); err != nil { // the server bounds what is under way
		return a, err
	}
	if err := request(ctx, nc, "STREAM.SNAPSHOT."+stream, map[string]any{"deliver_subject": inbox, "no_consumers": true, "jsck": true}, &a); err != nil {
		return a, err
	}
	if err := a.err(); err != nil {
		return a, err
	}
	for {
		done, err := chunk(ctx, sub, w)
		if err != nil || done {
			return a, err
		}
	}
}

// chunk writes the next message of a snapshot, and reports whether it was the last.
func chunk(ctx context.Context, sub *nats.Subscription, w io.Writer) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return false, fmt.Errorf("the snapshot ends early: %w", err)
	}
	if len(m.Data) == 0 {
		if status := m.Header.Get("Status"); status != "" && status != "204" {
			return false, fmt.Errorf("the snapshot ends early: %s %s", status, m.Header.Get("Description"))
		}
		return true, nil
	}
	if _, err := w.Write(m.Data); err != nil || m.Reply == "" {
		return false, err
	}
	return false, m.Respond(nil)
}

// request asks the API of JetStream.
func request(ctx context.Context, nc *nats.Conn, api string, body, answer any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, "$JS.API."+api, raw)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, answer)
}
