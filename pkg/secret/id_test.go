package secret_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/secret"
)

const idAlphabet = "! %é鍵>*\"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_+=.@:-"

func ids() *rapid.Generator[secret.ID] {
	return rapid.Map(rapid.StringOfN(rapid.SampledFrom([]rune(idAlphabet)), 1, 60, -1), func(s string) secret.ID { return secret.ID(s) })
}

func TestParseID(t *testing.T) {
	for name, tt := range map[string]struct {
		in string
		ok bool
	}{
		"an environment name is an id":  {"TRADEPULSE_AUDIT_SECRET_ID", true},
		"an AWS ARN is an id":           {"arn:aws:secretsmanager:eu-west-1:123:secret:a-B1c2", true},
		"every character of the set":    {idAlphabet, true},
		"the longest id":                {strings.Repeat("a", secret.MaxIDLength), true},
		"an empty id is refused":        {"", false},
		"one byte too many is refused":  {strings.Repeat("a", secret.MaxIDLength+1), false},
		"a secret that AWS owns":        {"rds!cluster-1a2b3c", true},
		"spaces":                        {"team a/db", true},
		"a percent sign":                {"a%2Fb", true},
		"wildcards":                     {"a.>*", true},
		"letters of Unicode":            {"schlüssel/鍵", true},
		"a line break is refused":       {"a\n", false},
		"an escape sequence is refused": {"a\x1b[2J", false},
		"an override is refused":        {"a\u202eb", false},
		"what is no UTF-8 is refused":   {"a\xffb", false},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := secret.ParseID(tt.in)
			if tt.ok != (err == nil) || string(id) != tt.in {
				t.Errorf("ParseID(%q) = %q, %v", tt.in, id, err)
			}
			if err != nil && !errors.Is(err, secret.ErrInvalidID) {
				t.Errorf("%v is not ErrInvalidID", err)
			}
		})
	}
}

func TestKeyIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := ids().Draw(t, "id")
		key := id.Key()
		if strings.Trim(string(key), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=") != "" {
			t.Errorf("key %q is not safe in a subject", key)
		}
		if back, err := secret.IDFromKey(key); err != nil || back != id {
			t.Errorf("IDFromKey(%q) = %q, %v, want %q", key, back, err, id)
		}
	})
}

func TestKeysOfTwoIDsDiffer(t *testing.T) {
	few := rapid.StringOfN(rapid.SampledFrom([]rune("=2F/a")), 1, 6, -1) // where escapes could be confused
	rapid.Check(t, func(t *rapid.T) {
		a, b := secret.ID(few.Draw(t, "a")), secret.ID(few.Draw(t, "b"))
		if (a == b) != (a.Key() == b.Key()) {
			t.Errorf("%q and %q have the keys %q and %q", a, b, a.Key(), b.Key())
		}
	})
}

func TestIDFromKeyRefusesWhatKeyDoesNotMake(t *testing.T) {
	for name, key := range map[string]secret.Key{
		"empty":                            "",
		"an escape of a plain character":   "=41",
		"an escape in lower case":          "a=2fb",
		"an escape that is cut short":      "a=2",
		"an escape sign at the end":        "a=",
		"an escape without digits":         "a=zz",
		"an escape of an illegal byte":     "a=00",
		"a character that must be escaped": "prod/db",
		"a dot":                            "a.b",
	} {
		t.Run(name, func(t *testing.T) {
			if id, err := secret.IDFromKey(key); !errors.Is(err, secret.ErrInvalidID) || id != "" {
				t.Errorf("IDFromKey(%q) = %q, %v", key, id, err)
			}
		})
	}
}
