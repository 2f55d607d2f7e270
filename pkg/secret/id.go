package secret

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxIDLength is the longest [ID], in bytes: the limit that AWS Secrets
// Manager sets on a secret's name.
const MaxIDLength = 512

// ErrInvalidID is returned by [ParseID], [IDFromKey] and [ID.Validate].
var ErrInvalidID = errors.New("invalid secret id")

// ErrNotFound is wrapped by the error of a store that does not know a secret or a
// version of it.
var ErrNotFound = errors.New("not found")

// ErrDeleted is wrapped by the error about a secret that was deleted in its store
// and may be restored there. It is an [ErrNotFound] that nothing must create anew.
var ErrDeleted = fmt.Errorf("%w: deleted", ErrNotFound)

// ID is the stable identifier by which applications name a secret, such as
// TRADEPULSE_AUDIT_SECRET_ID. A configuration maps it to a store and a path,
// so that moving a secret to another store changes no application. The zero
// value is not a valid ID.
type ID string

// ParseID returns s as an [ID], or an error that wraps [ErrInvalidID].
func ParseID(s string) (ID, error) {
	id := ID(s)
	return id, id.Validate()
}

// Validate returns an error that wraps [ErrInvalidID] unless the id is 1 to
// [MaxIDLength] bytes of printable UTF-8, spaces included: whatever a store takes
// as the name of a secret. Vault refuses what is not printable, and AWS allows
// less.
func (id ID) Validate() error {
	if id == "" {
		return fmt.Errorf("%w: it is empty", ErrInvalidID)
	}
	if len(id) > MaxIDLength {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrInvalidID, len(id), MaxIDLength)
	}
	for i, r := range string(id) {
		if _, size := utf8.DecodeRuneInString(string(id[i:])); r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			return fmt.Errorf("%w: %q is not printable at byte %d", ErrInvalidID, string(id), i)
		}
	}
	return nil
}

// Key is an [ID] written as one token of a NATS subject, which is also a legal
// key of a JetStream key-value bucket. The encoding is injective and readable:
// letters, digits, '_' and '-' stand for themselves, every other byte is '='
// and two upper-case hexadecimal digits (the escape of RFC 2045 §6.7), so
// prod/db becomes prod=2Fdb.
type Key string

// Key returns the subject-safe form of a valid id.
func (id ID) Key() Key {
	var b strings.Builder
	for i := range len(id) {
		if c := id[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return Key(b.String())
}

// IDFromKey returns the id that [ID.Key] encoded as k. It accepts nothing that
// Key does not produce, so that two keys never mean one secret; the error
// wraps [ErrInvalidID].
func IDFromKey(k Key) (ID, error) {
	var b strings.Builder
	for i := 0; i < len(k); i++ {
		c := k[i]
		if c == '=' && i+2 < len(k) {
			c = unhex(k[i+1])<<4 | unhex(k[i+2])
			i += 2
		}
		b.WriteByte(c)
	}
	id, err := ParseID(b.String())
	if err != nil {
		return "", err
	}
	if id.Key() != k {
		return "", fmt.Errorf("%w: key %q is not in canonical form", ErrInvalidID, string(k))
	}
	return id, nil
}

// plain reports whether c stands for itself in a [Key].
func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// unhex returns the value of an upper-case hexadecimal digit, and 0 for any
// other byte: IDFromKey compares the re-encoded key, so a wrong digit shows.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	default:
		return 0
	}
}
