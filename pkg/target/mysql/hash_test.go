package mysql

import (
	"encoding/hex"
	"strings"
	"testing"
)

// TestHashes: what servers store of a password. The form of MySQL is one that a server
// has made.
func TestHashes(t *testing.T) {
	t.Parallel()
	stored, err := hex.DecodeString("24412430303524" + "031a69251c34295c4b35167c7f1e5a7b63091349" + "503974624d34504b5a424679354856336868686f52485a736e4a733368786e427575516c73446469496537")
	if err != nil {
		t.Fatal(err)
	}
	if !matches(string(stored), "foobar") || matches(string(stored), "foobaz") {
		t.Error("a hash of MySQL is not recognised")
	}
	if h := native("password"); h != "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19" || !matches(h, "password") || matches(tombstone(h), "password") {
		t.Errorf("native hash %s", h)
	}
	clause := mysqlPassword("Secret.0123456789", true)
	if hash := strings.Split(clause, "'")[1]; !matches(hash, "Secret.0123456789") || strings.Contains(clause, "Secret.0123456789") || !strings.HasSuffix(clause, " RETAIN CURRENT PASSWORD") {
		t.Errorf("clause %s", clause)
	}
}

// TestAccountsOfMySQL: the columns of mysql.user in the form in which they are read.
func TestAccountsOfMySQL(t *testing.T) {
	t.Parallel()
	s := &session{}
	a, err := parseAccount([]byte(`{"plugin": "caching_sha2_password", "authentication_string": "new", "second": "old", "account_locked": false, "password_last_changed": 12}`))
	if err != nil || len(a.hashes) != 2 || a.hashes[0] != "new" || s.without(a, 1) != " DISCARD OLD PASSWORD" || s.buried(a) != " ACCOUNT LOCK" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := parseAccount([]byte(`secret`)); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("err %v", err)
	}
}

// TestGrantsAreRewritten: a line is given to the other account and nothing else of it.
func TestGrantsAreRewritten(t *testing.T) {
	t.Parallel()
	from, to := account{name: "app", host: "%"}.grantee(), account{name: "app_clone", host: "%"}.grantee()
	for line, want := range map[string]string{
		"GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*2470'":                            "",
		"GRANT ALL PRIVILEGES ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*2470' WITH GRANT OPTION": "GRANT ALL PRIVILEGES ON *.* TO `app_clone`@`%` WITH GRANT OPTION",
		"GRANT SELECT ON `a TO ``app``@``%``b`.* TO `app`@`%`":                                      "GRANT SELECT ON `a TO ``app``@``%``b`.* TO `app_clone`@`%`",
		"GRANT `r`@`%` TO `app`@`%` WITH ADMIN OPTION":                                              "GRANT `r`@`%` TO `app_clone`@`%` WITH ADMIN OPTION",
		"SET DEFAULT ROLE `r` FOR `app`@`%`":                                                        "SET DEFAULT ROLE `r` FOR `app_clone`@`%`",
	} {
		if got, err := regrant(line, from, to); err != nil || got != want {
			t.Errorf("%s: %s, %v", line, got, err)
		}
	}
	if _, err := regrant("GRANT PROXY ON ''@'%' TO 'app'@'%'", from, to); err == nil {
		t.Error("a line in an unknown form is passed over")
	}
}
