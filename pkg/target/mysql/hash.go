package mysql

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // the server's own format
	"encoding/hex"
	"strings"
)

// native returns what a server stores of a password in its native format. MariaDB
// takes it as it is.
func native(password string) string {
	inner := sha1.Sum([]byte(password)) //nolint:gosec // likewise
	outer := sha1.Sum(inner[:])         //nolint:gosec // likewise
	return "*" + strings.ToUpper(hex.EncodeToString(outer[:]))
}

// tombstone returns a hash that no password is known for, by which a revoked hash is
// recognised.
func tombstone(hash string) string {
	sum := sha1.Sum([]byte("revoked " + hash)) //nolint:gosec // likewise
	return "*" + strings.ToUpper(hex.EncodeToString(sum[:]))
}

// matches reports whether a stored hash is that of a password.
func matches(stored, password string) bool {
	if salt, ok := sha2Salt(stored); ok {
		return stored == sha2(password, salt)
	}
	return stored == native(password)
}

// passwords returns the clause that gives an account a password, and leaves it a
// second one unless that is "".
func (s *session) passwords(first, second string) string {
	if !s.mariadb {
		return mysqlPassword(first, second != "")
	}
	hashes := []string{native(first)}
	if second != "" && second != first {
		hashes = append(hashes, native(second))
	}
	return identified(hashes)
}

// identified is the clause of MariaDB.
func identified(hashes []string) string {
	return " IDENTIFIED VIA mysql_native_password USING '" + strings.Join(hashes, "' OR mysql_native_password USING '") + "'"
}

// without returns the clause that takes a password away and leaves the other one.
func (s *session) without(a account, i int) string {
	if !s.mariadb {
		return " DISCARD OLD PASSWORD"
	}
	return identified(append(append([]string{}, a.hashes[:i]...), a.hashes[i+1:]...))
}

// buried returns the clause that revokes an account.
func (s *session) buried(a account) string {
	if !s.mariadb || len(a.hashes) == 0 || a.dead {
		return " ACCOUNT LOCK"
	}
	return identified([]string{tombstone(a.hashes[0])}) + " ACCOUNT LOCK"
}

// mysqlPassword is the clause of MySQL. The current password stays if it is retained.
func mysqlPassword(password string, retain bool) string {
	clause := " IDENTIFIED WITH caching_sha2_password AS '" + sha2(password, rand.Text()[:saltLength]) + "'"
	if retain {
		clause += " RETAIN CURRENT PASSWORD"
	}
	return clause
}
