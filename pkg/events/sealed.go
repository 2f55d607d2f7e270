package events

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrSeal is wrapped by the error for a sealed record that is malformed or whose
// signature does not fit.
var ErrSeal = errors.New("the record is not sealed")

// SealedReceipt is the [Sealed.Type] of a [Receipt].
const SealedReceipt = "rotator/receipt/v1"

// Sealed is a signed record that is checked without anything else: it names the key
// that signed it. Whether to trust that key is for the reader to say.
//
// What is signed is the type, a line feed, the key ID, a line feed, and the body
// without insignificant white space. The record may therefore be indented.
type Sealed struct {
	// Type says what Body is: SealedReceipt.
	Type string `json:"type"`
	// KeyID is the first 16 hexadecimal digits of the SHA-256 of PublicKey.
	KeyID string `json:"key_id"`
	// PublicKey is the Ed25519 key in base64url without padding, and Signature the
	// signature.
	PublicKey string `json:"public_key"`
	Signature string `json:"signature"`
	// Body is a JSON object.
	Body json.RawMessage `json:"body"`
}

// Seal signs a record of the given type.
func (s *Signer) Seal(kind string, body any) (Sealed, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return Sealed{}, fmt.Errorf("seal %s: %w", kind, err)
	}
	key := s.use()
	out := Sealed{Type: kind, KeyID: key.id, PublicKey: base64.RawURLEncoding.EncodeToString(key.pub), Body: raw}
	signed, err := out.signed()
	if err != nil {
		return Sealed{}, fmt.Errorf("seal %s: %w", kind, err)
	}
	out.Signature = key.sign(signed)
	return out, nil
}

// ParseSealed reads a sealed record. It checks the form only; see [Sealed.Key].
func ParseSealed(text []byte) (Sealed, error) {
	var s Sealed
	if err := strict(text, &s); err != nil {
		return Sealed{}, fmt.Errorf("%w: %w", ErrSeal, err)
	}
	if s.Type == "" || len(s.Body) == 0 {
		return Sealed{}, fmt.Errorf("%w: it has no type or no body", ErrSeal)
	}
	return s, nil
}

// Key checks the signature and returns the key that made it.
func (s Sealed) Key() (ed25519.PublicKey, error) {
	key, err := base64.RawURLEncoding.Strict().DecodeString(s.PublicKey)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: public_key is not an Ed25519 key", ErrSeal)
	}
	if keyID(key) != s.KeyID {
		return nil, fmt.Errorf("%w: key_id is not that of public_key", ErrSeal)
	}
	sig, err := base64.RawURLEncoding.Strict().DecodeString(s.Signature)
	if err != nil {
		return nil, fmt.Errorf("%w: the signature is malformed", ErrSeal)
	}
	signed, err := s.signed()
	if err != nil {
		return nil, err
	}
	if !ed25519.Verify(key, signed, sig) {
		return nil, fmt.Errorf("%w: the signature does not fit: the record was changed, or another key signed it", ErrSeal)
	}
	return key, nil
}

// Open decodes the body of a record of the given type into v. A field that this
// program does not know is an error: what is not understood is not checked.
func (s Sealed) Open(kind string, v any) error {
	if s.Type != kind {
		return fmt.Errorf("%w: its type is not %s", ErrSeal, kind)
	}
	if err := strict(s.Body, v); err != nil {
		return fmt.Errorf("%w: the body is malformed: %w", ErrSeal, err)
	}
	return nil
}

// Digest returns the SHA-256 of the record, with its signature, in hexadecimal: what
// the record after it names.
func (s Sealed) Digest() (string, error) {
	signed, err := s.signed()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append(append(signed, '\n'), s.Signature...))
	return hex.EncodeToString(sum[:]), nil
}

func (s Sealed) signed() ([]byte, error) {
	var out bytes.Buffer
	out.WriteString(s.Type + "\n" + s.KeyID + "\n")
	if err := json.Compact(&out, s.Body); err != nil {
		return nil, fmt.Errorf("%w: the body is not JSON", ErrSeal)
	}
	return out.Bytes(), nil
}

// Trusts reports whether the Bus believes receipts that a key has signed: it is the
// key of a worker.
func (b *Bus) Trusts(pub ed25519.PublicKey) bool { return b.cfg.Verifier.TrustsRecords(pub) }

// TrustsRecords reports whether v trusts a key to have sealed records: in every role, or in
// that of a worker.
func (v *Verifier) TrustsRecords(pub ed25519.PublicKey) bool {
	k, ok := v.key(keyID(pub))
	return ok && k.Key.Equal(pub) && (k.Roles == nil || slices.Contains(k.Roles, RoleWorker))
}

// strict decodes one JSON value without unknown fields, and nothing after it.
func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}
