package client

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// AuditError says which record of an audit log is the first bad one.
type AuditError struct {
	// Line counts from 1.
	Line int
	// Reason says what is wrong with it.
	Reason string
	// Torn is whether it is a last line that was not written to its end.
	Torn bool
}

func (e *AuditError) Error() string { return fmt.Sprintf("audit: line %d: %s", e.Line, e.Reason) }

// AuditVerifier checks audit logs.
type AuditVerifier struct {
	// Key returns a version of the key. It is asked once for each. An error that
	// wraps store.ErrNotFound, store.ErrNoValue or store.ErrInvalid makes the
	// record a bad one; another one ends the verification.
	Key func(secret.VersionID) (secret.Value, error)
	// After is the last record of the log before this one. The zero record
	// means that the log has to begin with the first record of its chain.
	After AuditRecord
	// Merged takes a log into which several processes have written, each a chain
	// of its own. Then a chain that is missing from its first record to its last
	// does not show: compare how many there are.
	Merged bool
	// Life, if set, says when a version of the key may have signed: see
	// [AuditLives]. A record outside of that, and a key that is older than the key
	// before it, is bad.
	Life func(secret.VersionID) (KeyLife, bool)
	// Anchors are positions that were kept elsewhere, such as in the log lines
	// audit.head. A log without a record that one of them names is bad.
	Anchors []AuditPosition
}

// AuditResult is what a log holds up to its end or its first bad record.
type AuditResult struct {
	// Records that are good.
	Records int
	// Last is the last good record.
	Last AuditRecord
	// Chains are how many chains they form.
	Chains int
	// Unannounced are the changes of the key without a record of EventKeyRotated,
	// which earlier releases did not write.
	Unannounced int

	size   int64                     // of the good records, in bytes
	before map[secret.VersionID]bool // keys that were replaced in the chain of Last
}

// VerifyAudit reads the log of one process from its beginning and returns how
// many records it has and the last one. It is [AuditVerifier.Verify] with the
// defaults.
func VerifyAudit(r io.Reader, lookup func(secret.VersionID) (secret.Value, error)) (n int, last AuditRecord, err error) {
	res, err := AuditVerifier{Key: lookup}.Verify(r)
	return res.Records, res.Last, err
}

// Verify reads an audit log. The error is an [*AuditError] for the first record
// that was changed, removed, put elsewhere, or signed with a key that is not
// there, or that was replaced before. Records missing at the end show against
// Anchors only, and so does a log that the holder of an old key wrote anew with
// times of that key's life.
func (v AuditVerifier) Verify(r io.Reader) (AuditResult, error) {
	c := auditChecker{v: v, heads: map[string]*chain{}, begun: map[string]bool{}, keys: map[secret.VersionID]secret.Value{}, anchors: slices.Clone(v.Anchors)}
	if v.After.Seq != 0 {
		c.heads[v.After.MAC] = &chain{seq: v.After.Seq, key: v.After.KeyID}
		c.res.Chains = 1
	}
	br := bufio.NewReaderSize(r, maxAuditLine+1)
	for {
		line, err := br.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return c.res, c.cut()
		case errors.Is(err, io.EOF):
			bad := c.bad("it has no end: the log was cut off, or is being written")
			bad.Torn = true
			return c.res, bad
		case errors.Is(err, bufio.ErrBufferFull):
			return c.res, c.bad("the line is too long")
		case err == nil && len(line) == 1 && blankToEnd(br):
			bad := c.bad("it is empty: the log was cut off, or was edited")
			bad.Torn = true
			return c.res, bad
		case err != nil:
			return c.res, fmt.Errorf("audit: read: %w", err)
		}
		reason, err := c.take(bytes.TrimSuffix(line, []byte("\n")))
		switch {
		case err != nil:
			return c.res, fmt.Errorf("audit: line %d: %w", c.res.Records+1, err)
		case reason != "":
			return c.res, c.bad(reason)
		}
		c.res.size += int64(len(line))
	}
}

// blankToEnd reports whether nothing but empty lines follows.
func blankToEnd(br *bufio.Reader) bool {
	for {
		switch next, err := br.Peek(1); {
		case err != nil:
			return errors.Is(err, io.EOF)
		case next[0] != '\n':
			return false
		}
		if _, err := br.Discard(1); err != nil {
			return false
		}
	}
}

// auditChecker is one pass over a log.
type auditChecker struct {
	v     AuditVerifier
	res   AuditResult
	heads map[string]*chain // :: MAC of the last record of a chain → the chain
	begun map[string]bool   // :: MACs of first records
	keys  map[secret.VersionID]secret.Value

	anchors []AuditPosition // those that were not met yet
}

// bad returns the error about the line that was read last.
func (c *auditChecker) bad(reason string) *AuditError {
	return &AuditError{Line: c.res.Records + 1, Reason: reason}
}

// take checks one line, and returns what is wrong with it.
func (c *auditChecker) take(line []byte) (reason string, err error) {
	r, ok := parseAudit(line)
	if !ok {
		return "it is no record", nil
	}
	if reason := c.place(r); reason != "" {
		return reason, nil
	}
	key, err := c.key(r.KeyID)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNoValue), errors.Is(err, store.ErrInvalid):
		return fmt.Sprintf("the key %q is not there: %v", string(r.KeyID), err), nil
	case err != nil:
		return "", fmt.Errorf("the key %q cannot be had: %w", string(r.KeyID), err)
	}
	if reason := genuine(r, line, key); reason != "" {
		return reason, nil
	}
	return c.follow(r), nil
}

// follow adds a genuine record to its chain, or returns what is wrong with it there.
func (c *auditChecker) follow(r AuditRecord) string {
	of := c.heads[r.Prev]
	if of == nil {
		of = &chain{}
	}
	reason, unannounced := of.successor(r)
	if reason == "" {
		reason = cmp.Or(c.alive(r, of.key), c.anchored(r))
	}
	if reason != "" {
		return reason
	}
	if unannounced {
		c.res.Unannounced++
	}
	if r.Prev == "" {
		c.begun[r.MAC] = true
		c.res.Chains++
	}
	delete(c.heads, r.Prev)
	of.add(r)
	c.heads[r.MAC] = of
	c.res.Last, c.res.before = r, of.before
	c.res.Records++
	return ""
}

// parseAudit returns the record of a line, and false for a line that is not the JSON
// of a record.
func parseAudit(line []byte) (r AuditRecord, ok bool) {
	err := json.Unmarshal(line, &r)
	return r, err == nil
}

// place checks where in which chain a record stands.
func (c *auditChecker) place(r AuditRecord) string {
	if r.Seq == 1 && r.Prev == "" {
		switch {
		case c.begun[r.MAC]:
			return "it stands here a second time"
		case c.res.Chains > 0 && !c.v.Merged:
			return "a new chain begins: another process writes here, or records were removed"
		}
		return ""
	}
	last, ok := c.heads[r.Prev]
	switch {
	case !ok && len(c.heads) == 0:
		return fmt.Sprintf("it has number %d where the first record was expected", r.Seq)
	case !ok:
		return "it does not follow the record before it: records were removed or moved"
	case r.Seq != last.seq+1:
		return fmt.Sprintf("it has number %d where %d was expected", r.Seq, last.seq+1)
	}
	return ""
}

// key returns a key by its version. It asks for each once, and again after
// an error.
func (c *auditChecker) key(v secret.VersionID) (secret.Value, error) {
	if key, ok := c.keys[v]; ok {
		return key, nil
	}
	key, err := c.v.Key(v)
	if err == nil {
		c.keys[v] = key
	}
	return key, err
}

// genuine checks the MAC of a record and how it is written.
func genuine(r AuditRecord, line []byte, key secret.Value) string {
	want, err := r.mac(key)
	if err != nil || !hmac.Equal([]byte(want), []byte(r.MAC)) {
		return "its MAC does not fit: it was changed, or its key is another"
	}
	if canon, err := encodeAudit(r); err != nil || !bytes.Equal(canon, line) {
		return "it is not written canonically"
	}
	return ""
}
