package client

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
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

// sign sets the MAC of r and returns its line.
func (r *AuditRecord) sign(key secret.Value) ([]byte, error) {
	r.plain()
	mac, err := r.mac(key)
	if err != nil {
		return nil, err
	}
	r.MAC = mac
	line, err := encodeAudit(*r)
	return append(line, '\n'), err
}

// plain replaces what is not UTF-8: JSON could not hold it, and a record must
// not be lost because of a text that a client sent.
func (r *AuditRecord) plain() {
	r.Event = valid(r.Event)
	if len(r.Fields) == 0 {
		return
	}
	fields := make(map[string]string, len(r.Fields))
	for name, text := range r.Fields {
		fields[valid(name)] = valid(text)
	}
	r.Fields = fields
}

// valid replaces each run of bytes that are not UTF-8 by U+FFFD.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

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
