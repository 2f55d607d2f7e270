package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// ErrTorn is wrapped by the errors of an [AuditLogger] whose writer failed in
// the middle of a record: what follows would stand on the same line.
var ErrTorn = errors.New("a record was written in part")

// AuditLogger writes records that show whether they were changed, removed or
// put in another order. It signs with the current version of its key, also
// right after that has been rotated. It is safe for concurrent use.
//
// Each logger writes a chain of its own, so two processes need two files, or a
// reader that takes a merged log, see [AuditVerifier].
type AuditLogger struct {
	keys *Keyring
	stop func()

	mu   sync.Mutex
	w    io.Writer
	seq  uint64
	prev string
	torn error
}

// NewAuditLogger returns a logger that writes to w with the key ring of a
// secret of m. It writes a record with one call of Write, and syncs nothing.
func NewAuditLogger(ctx context.Context, m *Manager, keys *Keyring, w io.Writer) (*AuditLogger, error) {
	a := &AuditLogger{keys: keys, w: w}
	stop, err := m.subscribe(ctx, keys.e.id, steps{
		prepare:  func(context.Context, Change) error { return nil },
		withdraw: func(secret.VersionID) {},
		commit: func(ctx context.Context, c Change) {
			m.log.LogAttrs(ctx, slog.LevelInfo, "audit.secret.loaded", attrLogID(c.ID), slog.String("version_id", string(c.Version.ID)))
		},
	})
	if err != nil {
		return nil, err
	}
	a.stop = stop
	return a, nil
}

// Resume continues the chain of an earlier process after its last record, which
// the caller has verified; the zero record begins a new one.
func (a *AuditLogger) Resume(last AuditRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seq, a.prev, a.torn = last.Seq, last.MAC, nil
}

// ResumeFrom verifies the log of an earlier process, with keys from the store
// where this process has not seen them, and continues it. It returns how many
// records there are. When the log does not verify the error is an
// [*AuditError] and nothing is resumed.
func (a *AuditLogger) ResumeFrom(ctx context.Context, log io.Reader) (n int, err error) {
	res, err := AuditVerifier{Key: a.keys.Lookup(ctx)}.Verify(log)
	if err != nil {
		return res.Records, err
	}
	a.Resume(res.Last)
	return res.Records, nil
}

// Log appends one record. When it fails the record is not in the log, unless
// the error wraps [ErrTorn]. It fails with a [FenceError] when the key may have been
// retired, after a read of the store that takes some seconds at most.
func (a *AuditLogger) Log(event string, fields map[string]string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.torn != nil {
		return a.torn
	}
	key, err := a.keys.Current(context.Background())
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	r := AuditRecord{Seq: a.seq + 1, Time: time.Now().UTC(), Event: event, Fields: fields, Prev: a.prev, KeyID: key.ID}
	line, err := r.sign(key.Value)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if len(line) > maxAuditLine {
		return fmt.Errorf("audit: the record has %d bytes, the limit is %d", len(line), maxAuditLine)
	}
	switch n, err := a.w.Write(line); {
	case err != nil && n == 0:
		return fmt.Errorf("audit: %w", err)
	case err != nil:
		a.torn = fmt.Errorf("audit: %w: %w", ErrTorn, err)
		return a.torn
	}
	a.seq, a.prev = r.Seq, r.MAC
	return nil
}

// Close takes the logger off its secret. It does not close the writer.
func (a *AuditLogger) Close() { a.stop() }
