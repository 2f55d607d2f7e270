package mysql

import (
	"bytes"
	"crypto/sha256"
	"strings"
)

// The stored form of caching_sha2_password: the prefix names the number of rounds in
// thousands, a salt follows, then the digest.
const (
	sha2Prefix   = "$A$005$"
	saltLength   = 20
	digestLength = 43
	rounds       = 5000
	cryptBase64  = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// sha2Salt returns the salt of a stored form.
func sha2Salt(stored string) (string, bool) {
	if !strings.HasPrefix(stored, sha2Prefix) || len(stored) != len(sha2Prefix)+saltLength+digestLength {
		return "", false
	}
	return stored[len(sha2Prefix) : len(sha2Prefix)+saltLength], true
}

// sha2 returns what MySQL stores of a password: SHA-crypt with SHA-256, as glibc
// specifies it, with a longer salt.
func sha2(password, salt string) string {
	p, s := []byte(password), []byte(salt)
	inner := sha256.Sum256(bytes.Join([][]byte{p, s, p}, nil))
	first := append(append([]byte{}, p...), s...)
	first = append(first, repeat(inner[:], len(p))...)
	for n := len(p); n > 0; n >>= 1 {
		if n&1 != 0 {
			first = append(first, inner[:]...)
		} else {
			first = append(first, p...)
		}
	}
	digest := sha256.Sum256(first)
	byP := sha256.Sum256(bytes.Repeat(p, len(p)))
	byS := sha256.Sum256(bytes.Repeat(s, 16+int(digest[0])))
	digest = stretch(digest, repeat(byP[:], len(p)), repeat(byS[:], len(s)))
	return sha2Prefix + salt + encode(digest)
}

// repeat returns n bytes of a sequence that repeats b.
func repeat(b []byte, n int) []byte { return bytes.Repeat(b, n/len(b)+1)[:n] }

// stretch makes the digest expensive.
func stretch(digest [sha256.Size]byte, p, s []byte) [sha256.Size]byte {
	var round []byte
	for i := range rounds {
		round = round[:0]
		if i%2 != 0 {
			round = append(round, p...)
		} else {
			round = append(round, digest[:]...)
		}
		if i%3 != 0 {
			round = append(round, s...)
		}
		if i%7 != 0 {
			round = append(round, p...)
		}
		if i%2 != 0 {
			round = append(round, digest[:]...)
		} else {
			round = append(round, p...)
		}
		digest = sha256.Sum256(round)
	}
	return digest
}

// encode writes a digest three bytes at a time, in the order of SHA-crypt.
func encode(d [sha256.Size]byte) string {
	var out strings.Builder
	write := func(a, b, c byte, n int) {
		for w := uint(a)<<16 | uint(b)<<8 | uint(c); n > 0; n, w = n-1, w>>6 {
			out.WriteByte(cryptBase64[w&63])
		}
	}
	i, j, k := 0, 10, 20
	for range 10 {
		write(d[i], d[j], d[k], 4)
		i, j, k = k+1, i+1, j+1
	}
	write(0, d[31], d[30], 3)
	return out.String()
}
