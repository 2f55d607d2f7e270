package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/secret"
)

// The CloudEvents attributes as headers, in the order in which they are signed.
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerSource      = "ce-source"
	headerType        = "ce-type"
	headerSubject     = "ce-subject"
	headerTime        = "ce-time"
	headerContentType = "ce-datacontenttype"
	headerKeyID       = "ce-keyid"
	headerSignature   = "ce-signature"
)

const (
	specVersion = "1.0"
	contentJSON = "application/json"
	// defaultMaxEventSize bounds an event, headers and body, in bytes.
	defaultMaxEventSize = 16 << 10
	maxText             = 2048 // longest attribute or message
)

// Why a message is rejected, as the attribute of the metric.
const (
	rejectOversized = "oversized"
	rejectMalformed = "malformed"
	rejectUntrusted = "untrusted"
	rejectType      = "unknown_type"
	rejectSubject   = "subject_mismatch"
	rejectAudience  = "audience_mismatch"
)

// rejection says why a message is not an event. Its text tells nothing of the
// message's content.
type rejection struct {
	reason string
	err    error
	key    string // the ID that the message gives of its key; not verified
}

func (r rejection) Error() string { return "rejected: " + r.reason + ": " + r.err.Error() }
func (r rejection) Unwrap() error { return r.err }

func reject(reason, format string, args ...any) error {
	return rejection{reason: reason, err: fmt.Errorf(format, args...)}
}

// attributes returns what is signed besides the body.
func attributes(h nats.Header) [][2]string {
	names := []string{headerSpecVersion, headerID, headerSource, headerType, headerSubject, headerTime, headerContentType, headerKeyID}
	out := make([][2]string, len(names))
	for i, n := range names {
		out[i] = [2]string{strings.TrimPrefix(n, "ce-"), h.Get(n)}
	}
	return out
}

// encode returns the message of e on subject, signed.
func (b *Bus) encode(subject string, e Event) (*nats.Msg, error) {
	if b.cfg.Signer == nil {
		return nil, ErrNoSigner
	}
	if err := e.validate(); err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Type, err)
	}
	if !e.order() {
		e.Data.ValidUntil = time.Time{} // of the order that it follows
	}
	to := b.cfg.Names.audience(subject)
	body, err := json.Marshal(Body{Data: e.Data, Audience: &to})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Type, err)
	}
	key := b.cfg.Signer.use()
	m := nats.NewMsg(subject)
	m.Data = body
	for k, v := range map[string]string{
		headerSpecVersion: specVersion, headerID: e.ID, headerSource: e.Source, headerType: string(e.Type),
		headerSubject: escapeAttribute(string(e.Data.SecretID)), headerTime: e.Time.UTC().Format(time.RFC3339Nano),
		headerContentType: contentJSON, headerKeyID: key.id,
	} {
		m.Header.Set(k, v)
	}
	m.Header.Set(headerSignature, key.sign(canonical(attributes(m.Header), body)))
	if n := size(m.Header, body); n > b.cfg.MaxEventSize {
		return nil, fmt.Errorf("encode %s: %d bytes, the limit is %d", e.Type, n, b.cfg.MaxEventSize)
	}
	return m, nil
}

func size(h nats.Header, body []byte) int {
	n := len(body)
	for k, vs := range h {
		for _, v := range vs {
			n += len(k) + len(v) + 4
		}
	}
	return n
}

// decode returns the event of a message that was received on subject, or a
// [rejection]. Nothing of the message is looked at before its signature has
// been checked, but its size and its attributes.
func (b *Bus) decode(subject string, h nats.Header, body []byte) (Event, error) {
	if n := size(h, body); n > b.cfg.MaxEventSize {
		return Event{}, reject(rejectOversized, "%d bytes, the limit is %d", n, b.cfg.MaxEventSize)
	}
	if h.Get(headerSpecVersion) != specVersion || h.Get(headerContentType) != contentJSON {
		return Event{}, reject(rejectMalformed, "no CloudEvents 1.0 event with JSON data")
	}
	if err := b.cfg.Verifier.verify(h.Get(headerKeyID), h.Get(headerSignature), canonical(attributes(h), body)); err != nil {
		return Event{}, rejection{reason: rejectUntrusted, err: err, key: h.Get(headerKeyID)}
	}
	e := Event{ID: h.Get(headerID), Type: Type(h.Get(headerType)), Source: h.Get(headerSource)}
	at, err := time.Parse(time.RFC3339Nano, h.Get(headerTime))
	if err != nil {
		return Event{}, reject(rejectMalformed, "ce-time is no RFC 3339 time")
	}
	e.Time = at
	var content Body
	if err := json.Unmarshal(body, &content); err != nil {
		return Event{}, reject(rejectMalformed, "the data does not decode")
	}
	e.Data = content.Data
	if !e.Type.known() {
		return Event{}, reject(rejectType, "the type is none of ours")
	}
	if err := e.validate(); err != nil {
		return Event{}, rejection{reason: rejectMalformed, err: err}
	}
	if h.Get(headerSubject) != escapeAttribute(string(e.Data.SecretID)) || !b.cfg.Names.fits(subject, e) {
		return Event{}, reject(rejectSubject, "it is about another secret or type than its subject says")
	}
	_, notification := b.cfg.Names.notified(subject)
	if err := b.cfg.Verifier.allowed(h.Get(headerKeyID), e.Type, notification); err != nil {
		return Event{}, rejection{reason: rejectUntrusted, err: err, key: h.Get(headerKeyID)}
	}
	if err := b.cfg.Names.addressed(subject, content.Audience); err != nil {
		return Event{}, rejection{reason: rejectAudience, err: err}
	}
	return e, nil
}

func (t Type) known() bool {
	switch t {
	case TypeNearExpiry, TypeStaged, TypeRotated, TypeRotationFailed, TypeRollout, TypeDiscovered, TypeProofContradicted, TypeVerified, TypeRetire, TypeSweep:
		return true
	}
	return false
}

// validate holds an event to what every type promises, in both directions.
func (e Event) validate() error {
	if !plainText(e.ID) || !plainText(e.Source) || e.Time.IsZero() {
		return errors.New("id, source and time are required, in printable ASCII")
	}
	if e.Type == TypeSweep {
		return nil
	}
	if err := e.Data.SecretID.Validate(); err != nil {
		return err
	}
	for _, v := range []secret.VersionID{e.Data.VersionID, e.Data.PreviousVersionID} {
		if v != "" && v.Validate() != nil {
			return secret.ErrInvalidVersionID
		}
	}
	if len(e.Data.Store)+len(e.Data.Incarnation) > maxText {
		return errors.New("the store or the incarnation is too long")
	}
	if p := e.Data.Path; p != "" && secret.ID(p).Validate() != nil {
		return errors.New("the path is not one")
	}
	if err := e.Data.Retry.validate(); err != nil {
		return err
	}
	if !e.Data.Request.valid() {
		return errors.New("the request is too long")
	}
	if (e.Type == TypeRollout) && e.Data.Rollout == nil {
		return errors.New("a rollout event has no rollout")
	}
	if e.Type == TypeProofContradicted {
		return e.Data.Contradiction.validate()
	}
	if e.Type == TypeVerified {
		return e.Data.Verification.validate()
	}
	return e.validateDiscovered()
}

func (r Retry) validate() error {
	if r.Attempt < 0 || r.Rejections < 0 {
		return errors.New("attempt or rejections is negative")
	}
	named := len(r.InUse.Named())
	if r.Resumed != nil {
		named = max(named, len(r.Resumed.Clients.Named()))
	}
	if named > maxInUse {
		return fmt.Errorf("it names %d sessions, the limit is %d", named, maxInUse)
	}
	if f := r.Failure; f != nil && len(f.Step)+len(f.Code)+len(f.Message) > 3*maxText {
		return errors.New("the failure is too long")
	}
	return nil
}

func (e Event) validateDiscovered() error {
	switch {
	case e.Type != TypeDiscovered:
		return nil
	case e.Data.Discovered == nil:
		return errors.New("a discovery says nothing of the secret")
	default:
		return e.Data.Discovered.validate()
	}
}

// Clip returns s, or its beginning and an ellipsis if it is longer than most
// bytes. The result is at most that long and valid UTF-8, so that a text of any
// length and kind fits into an event or a report.
func Clip(s string, most int) string {
	const ellipsis = "…"
	s = strings.ToValidUTF8(s, "�")
	if len(s) <= most {
		return s
	}
	cut := max(0, most-len(ellipsis))
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + ellipsis
}

// plainText reports whether s fits into a header without any escape.
func plainText(s string) bool { return s != "" && len(s) <= maxText && escapeAttribute(s) == s }

// escapeAttribute returns s as the value of a header, as CloudEvents escapes it.
func escapeAttribute(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Attribute is one attribute of an event as a header.
type Attribute struct{ Header, Meaning string }

// Attributes returns the attributes that every event carries, for its
// description.
func Attributes() []Attribute {
	return []Attribute{
		{headerSpecVersion, "The version of CloudEvents: " + specVersion + "."},
		{headerID, "Unique per source; the same occurrence has the same id."},
		{headerSource, "The component that says so, such as /rotator/worker/host-1."},
		{headerType, "The type of the event."},
		{headerSubject, "The id of the secret, with what is no printable ASCII, a space, a quotation mark and a percent sign percent-encoded; empty for " + string(TypeSweep) + "."},
		{headerTime, "When it happened, RFC 3339."},
		{headerContentType, contentJSON},
		{headerKeyID, "The first 16 hexadecimal digits of the SHA-256 of the public key that signed."},
		{headerSignature, "The Ed25519 signature, base64url without padding; docs/events.md says of what."},
	}
}
