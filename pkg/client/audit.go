package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
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
//
// It logs audit.head with the position of its last record after each 1,000 records,
// when the key has changed, and at the end: an anchor for [AuditVerifier] if the log
// of the program is kept where the program cannot change it.
type AuditLogger struct {
	keys *Keyring
	log  *slog.Logger
	stop func()

	mu     sync.Mutex
	w      io.Writer
	seq    uint64
	prev   string
	key    secret.VersionID          // that signed last, "" in a new chain
	before map[secret.VersionID]bool // keys that were replaced in this chain
	shown  uint64                    // the number of the last position that was logged
	torn   error
	left   int // bytes of a record that a failed write left at the end of w
}

// anchorEvery is after how many records the position is logged.
const anchorEvery = 1000

// NewAuditLogger returns a logger that writes to w with the key ring of a
// secret of m. It writes a record with one call of Write, and syncs nothing.
func NewAuditLogger(ctx context.Context, m *Manager, keys *Keyring, w io.Writer) (*AuditLogger, error) {
	a := &AuditLogger{keys: keys, log: m.log, w: w}
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
func (a *AuditLogger) Resume(last AuditRecord) { a.resume(last, nil) }

func (a *AuditLogger) resume(last AuditRecord, before map[secret.VersionID]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seq, a.prev, a.key, a.before, a.torn = last.Seq, last.MAC, last.KeyID, maps.Clone(before), nil
}

// ResumeFrom verifies the log of an earlier process, with keys from the store
// where this process has not seen them, and continues it. It returns how many
// records there are. When the log does not verify the error is an
// [*AuditError] and nothing is resumed.
//
// A last line that was not written to its end, as a crash or a full disk leaves one,
// never was a record, and neither is an empty one. If log or the writer of a is an
// [*os.File] that can be written, it is cut off, and audit.torn is logged.
func (a *AuditLogger) ResumeFrom(ctx context.Context, log io.Reader) (n int, err error) {
	read := &counted{Reader: log}
	res, err := AuditVerifier{Key: a.keys.Lookup(ctx)}.Verify(read)
	if bad, ok := errors.AsType[*AuditError](err); ok && bad.Torn {
		err = a.repair(ctx, log, res.size, read.n, err)
	}
	if err != nil {
		return res.Records, err
	}
	a.resume(res.Last, res.before)
	return res.Records, nil
}

// file is what a log has to be so that a line can be cut off.
type file interface {
	io.Seeker
	Truncate(size int64) error
}

// counted counts the bytes that are read.
type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

// repair cuts the log of read bytes off behind its good records: log itself, or the
// writer if that has as many bytes. It returns torn if neither can be cut off.
func (a *AuditLogger) repair(ctx context.Context, log io.Reader, size, read int64, torn error) error {
	err := torn
	for _, one := range []any{log, a.w} {
		f, ok := one.(file)
		if !ok {
			continue
		}
		cut := cutOff(f, size, read)
		if cut == nil {
			a.log.LogAttrs(ctx, slog.LevelWarn, "audit.torn", slog.Int64("bytes", read-size), slog.String("detail", "the last line was not written to its end"))
			return nil
		}
		err = fmt.Errorf("%w; it cannot be cut off: %w", torn, cut)
	}
	return err
}

// cutOff cuts a file of the given length off.
func cutOff(f file, size, length int64) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if end != length {
		return fmt.Errorf("it has %d bytes, and %d were read", end, length)
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	_, err = f.Seek(size, io.SeekStart)
	return err
}

// Log appends one record. When it fails the record is not in the log, unless
// the error wraps [ErrTorn]. It fails with a [FenceError] when the key may have been
// retired, after a read of the store that takes some seconds at most.
//
// A key that signs for the first time in the chain takes it over with a record of its
// own, EventKeyRotated. A key that was replaced in the chain before, because its
// version became current again, signs nothing: write its value as a new version, or
// begin a new log.
func (a *AuditLogger) Log(event string, fields map[string]string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.torn != nil && a.unwrite(a.left) != nil {
		return a.torn
	}
	a.torn = nil
	if event == EventKeyRotated {
		return fmt.Errorf("audit: the event %s is written by the logger only", event)
	}
	key, err := a.keys.Current(context.Background())
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := a.takeOver(key); err != nil {
		return err
	}
	return a.append(key, event, fields)
}

// takeOver writes the first record of a key that is not the one before. The caller
// holds a.mu.
func (a *AuditLogger) takeOver(key Key) error {
	switch {
	case a.key == "" || a.key == key.ID:
		return nil
	case a.before[key.ID]:
		return fmt.Errorf("audit: the key %s was replaced in this log before; write its value as a new version, or begin a new log", key.ID)
	}
	return a.append(key, EventKeyRotated, map[string]string{fieldFrom: string(a.key), fieldHead: a.prev})
}

// append writes one record. The caller holds a.mu.
func (a *AuditLogger) append(key Key, event string, fields map[string]string) error {
	r := AuditRecord{Seq: a.seq + 1, Time: time.Now().UTC(), Event: event, Fields: fields, Prev: a.prev, KeyID: key.ID}
	line, err := r.sign(key.Value)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if len(line) > maxAuditLine {
		return fmt.Errorf("audit: the record has %d bytes, the limit is %d", len(line), maxAuditLine)
	}
	if err := a.write(line); err != nil {
		return err
	}
	changed := a.key != "" && a.key != key.ID
	if changed {
		a.before = replaced(a.before, a.key)
	}
	a.seq, a.prev, a.key = r.Seq, r.MAC, key.ID
	if changed || a.seq-a.shown >= anchorEvery {
		a.anchor()
	}
	return nil
}

func replaced(set map[secret.VersionID]bool, v secret.VersionID) map[secret.VersionID]bool {
	if set == nil {
		set = map[secret.VersionID]bool{}
	}
	set[v] = true
	return set
}

// write writes a line. What a failed write has left of it is cut off where that can
// be done, and else no record may follow it.
func (a *AuditLogger) write(line []byte) error {
	n, err := a.w.Write(line)
	switch {
	case err == nil:
		return nil
	case n == 0 || a.unwrite(n) == nil:
		return fmt.Errorf("audit: %w", err)
	}
	a.torn, a.left = fmt.Errorf("audit: %w: %w", ErrTorn, err), n
	return a.torn
}

// unwrite cuts the last n bytes of a file off.
func (a *AuditLogger) unwrite(n int) error {
	f, ok := a.w.(file)
	if !ok {
		return ErrTorn
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if err := f.Truncate(end - int64(n)); err != nil {
		return err
	}
	_, err = f.Seek(end-int64(n), io.SeekStart)
	return err
}

// anchor logs the position of the last record. The caller holds a.mu.
func (a *AuditLogger) anchor() {
	if a.seq == 0 || a.seq == a.shown {
		return
	}
	a.shown = a.seq
	a.log.LogAttrs(context.Background(), slog.LevelInfo, "audit.head", attrLogID(a.keys.e.id), slog.String("version_id", string(a.key)),
		slog.Uint64("seq", a.seq), slog.String("mac", a.prev))
}

// Close takes the logger off its secret. It does not close the writer.
func (a *AuditLogger) Close() {
	a.mu.Lock()
	a.anchor()
	a.mu.Unlock()
	a.stop()
}
