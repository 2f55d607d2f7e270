package secret

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Token names one rotation. It is derived, so that every worker that handles
// the same cause writes under the same name, whichever of them gets how far:
// it is the ClientRequestToken of AWS Secrets Manager, the key of a version in
// the embedded store, and the mark beside a pending version in Vault. The zero
// value means "not written by a rotation of ours".
type Token string

// NewToken returns the token of the attempt-th rotation of id away from the
// version from under a policy with the given hash: a UUID of version 8 (RFC
// 9562 §5.8) over their SHA-256. attempt is 0 except where an earlier pending
// value was given up for good, see [Policy.Hash] for the hash.
func NewToken(id ID, from VersionID, policyHash string, attempt int) Token {
	h := sha256.New()
	for _, part := range []string{"rotator/token/v1", string(id), string(from), policyHash, strconv.Itoa(attempt)} {
		// Length-prefixed, so that no two lists of parts hash alike.
		_, _ = h.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	var u [16]byte
	copy(u[:], h.Sum(nil))
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	x := hex.EncodeToString(u[:])
	return Token(x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:])
}
