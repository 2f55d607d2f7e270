package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// AuditRecord is one line of an audit log, see audit-format.md.
type AuditRecord struct {
	// Seq counts the records of a chain from 1.
	Seq uint64 `json:"seq"`
	// Time is when it was written.
	Time time.Time `json:"time"`
	// Event and Fields are what happened.
	Event  string            `json:"event"`
	Fields map[string]string `json:"fields,omitempty"`
	// Prev is the MAC of the record before, "" for the first.
	Prev string `json:"prev"`
	// KeyID is the version of the key that MAC was made with.
	KeyID secret.VersionID `json:"key_id"`
	// MAC is the HMAC-SHA-256 of the line without it.
	MAC string `json:"mac"`
}

// maxAuditLine bounds a line of an audit log, in bytes.
const maxAuditLine = 1 << 20

// AuditLogger writes records that show whether they were changed, removed or
// put in another order. It signs with the current version of its key, also
// right after that has been rotated. It is safe for concurrent use.
type AuditLogger struct {
	keys *Keyring
	log  *slog.Logger
	stop func()

	mu   sync.Mutex
	w    io.Writer
	seq  uint64
	prev string
}

// NewAuditLogger returns a logger that writes to w with the key ring of a
// secret of m.
func NewAuditLogger(ctx context.Context, m *Manager, keys *Keyring, w io.Writer) (*AuditLogger, error) {
	a := &AuditLogger{keys: keys, log: m.log, w: w}
	stop, err := m.Subscribe(ctx, keys.id, func(ctx context.Context, c Change) error {
		if !c.Staged {
			a.log.LogAttrs(ctx, slog.LevelInfo, "audit.secret.loaded", slog.String("secret_id", string(c.ID)), slog.String("version_id", string(c.Version.ID)))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	a.stop = stop
	return a, nil
}

// Resume continues the chain of an earlier process after its last record.
func (a *AuditLogger) Resume(last AuditRecord) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seq, a.prev = last.Seq, last.MAC
}

// Log appends one record.
func (a *AuditLogger) Log(event string, fields map[string]string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := a.keys.Current()
	r := AuditRecord{Seq: a.seq + 1, Time: time.Now().UTC(), Event: event, Fields: fields, Prev: a.prev, KeyID: key.ID}
	line, err := r.sign(key.Value)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if len(line) > maxAuditLine {
		return fmt.Errorf("audit: the record has %d bytes, the limit is %d", len(line), maxAuditLine)
	}
	if _, err := a.w.Write(line); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	a.seq, a.prev = r.Seq, r.MAC
	return nil
}

// Close takes the logger off its secret. It does not close the writer.
func (a *AuditLogger) Close() { a.stop() }

// sign sets the MAC of r and returns its line.
func (r *AuditRecord) sign(key secret.Value) ([]byte, error) {
	mac, err := r.mac(key)
	if err != nil {
		return nil, err
	}
	r.MAC = mac
	line, err := encodeAudit(*r)
	return append(line, '\n'), err
}

// mac returns the MAC of r under key: over the line with an empty mac.
func (r *AuditRecord) mac(key secret.Value) (string, error) {
	bare := *r
	bare.MAC = ""
	line, err := encodeAudit(bare)
	if err != nil {
		return "", err
	}
	h := hmac.New(sha256.New, key.Reveal())
	_, _ = h.Write(line)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// encodeAudit returns the canonical JSON of a record: the fields in the order of
// the struct, the names in Fields sorted, no HTML escapes.
func encodeAudit(r AuditRecord) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// AuditError says which record of an audit log is the first bad one.
type AuditError struct {
	// Line counts from 1.
	Line int
	// Reason says what is wrong with it.
	Reason string
}

func (e *AuditError) Error() string { return fmt.Sprintf("audit: line %d: %s", e.Line, e.Reason) }

// VerifyAudit reads an audit log and returns how many records it has and the
// last one. The error is an [*AuditError] for the first record that was
// changed, removed, put elsewhere, or signed with a key that lookup does not
// know. Records missing at the end do not show; compare the last one with what
// was handed over elsewhere.
func VerifyAudit(r io.Reader, lookup func(secret.VersionID) (secret.Value, error)) (n int, last AuditRecord, err error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxAuditLine+1)
	for sc.Scan() {
		n++
		rec, reason := checkAudit(sc.Bytes(), last, lookup)
		if reason != "" {
			return n - 1, last, &AuditError{Line: n, Reason: reason}
		}
		last = rec
	}
	if errors.Is(sc.Err(), bufio.ErrTooLong) {
		return n, last, &AuditError{Line: n + 1, Reason: "the line is too long"}
	}
	return n, last, sc.Err()
}

// checkAudit returns the record of a line, or what is wrong with it.
func checkAudit(line []byte, last AuditRecord, lookup func(secret.VersionID) (secret.Value, error)) (AuditRecord, string) {
	var r AuditRecord
	if err := json.Unmarshal(line, &r); err != nil {
		return r, "it is no record"
	}
	switch {
	case last.Seq != 0 && r.Seq != last.Seq+1:
		return r, fmt.Sprintf("it has number %d where %d was expected: records were removed or moved", r.Seq, last.Seq+1)
	case last.Seq != 0 && r.Prev != last.MAC:
		return r, "it does not follow the record before it"
	}
	key, err := lookup(r.KeyID)
	if err != nil {
		return r, fmt.Sprintf("the key %s cannot be had: %v", r.KeyID, err)
	}
	want, err := r.mac(key)
	if err != nil || !hmac.Equal([]byte(want), []byte(r.MAC)) {
		return r, "its MAC does not fit: it was changed"
	}
	if canon, err := encodeAudit(r); err != nil || !bytes.Equal(canon, line) {
		return r, "it is not written canonically"
	}
	return r, ""
}
