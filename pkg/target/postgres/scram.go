package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/tradepulse/rotator/pkg/target"
)

// iterations and saltLength are those of a PostgreSQL server.
const (
	iterations = 4096
	saltLength = 16
)

// verifier returns what the server stores in place of a password: the form of RFC
// 5803 that pg_authid.rolpassword has. The server takes it as it is, so that the
// password reaches neither the connection nor a log.
func verifier(password string) (string, error) {
	if err := portable(password); err != nil {
		return "", err
	}
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive the key of the verifier: %w", err)
	}
	stored := sha256.Sum256(mac(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored[:]), b64(mac(salted, "Server Key"))), nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// portable refuses a password that clients would prepare in different ways before
// they hash it: libpq by SASLprep, others by PRECIS, some not at all.
func portable(password string) error {
	if !norm.NFKC.IsNormalString(password) {
		return fmt.Errorf("%w: the password is not in Unicode form NFKC, so clients would hash it differently", target.ErrRejected)
	}
	for _, r := range password {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return fmt.Errorf("%w: the password has control characters, or spaces that are not ASCII, so clients would hash it differently", target.ErrRejected)
		}
	}
	return nil
}
