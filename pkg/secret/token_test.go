package secret_test

import (
	"regexp"
	"testing"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/secret"
)

func TestTokenNeverChanges(t *testing.T) {
	// Tokens of one release must be found again by the next.
	const want = "672f3b7c-8cef-84da-8f0b-6c5e693bd2a0"
	if got := secret.NewToken("prod/db", "7", "abc", 1); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTokenIsAUUIDOfVersion8(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	rapid.Check(t, func(t *rapid.T) {
		token := secret.NewToken(ids().Draw(t, "id"), "v", "h", rapid.IntRange(0, 9).Draw(t, "attempt"))
		if !form.MatchString(string(token)) {
			t.Errorf("%s is none", token)
		}
	})
}

func TestTokenDiffersWhenAnyPartDiffers(t *testing.T) {
	type parts struct {
		id      secret.ID
		from    secret.VersionID
		hash    string
		attempt int
	}
	few := rapid.StringOfN(rapid.SampledFrom([]rune("a1:")), 0, 4, -1) // parts that could run into one another
	draw := rapid.Custom(func(t *rapid.T) parts {
		return parts{secret.ID(few.Draw(t, "id")), secret.VersionID(few.Draw(t, "from")), few.Draw(t, "hash"), rapid.IntRange(0, 12).Draw(t, "attempt")}
	})
	token := func(p parts) secret.Token { return secret.NewToken(p.id, p.from, p.hash, p.attempt) }
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		if (a == b) != (token(a) == token(b)) {
			t.Errorf("%v has token %s, %v has %s", a, token(a), b, token(b))
		}
	})
}

func TestSpecTokenFollowsPolicy(t *testing.T) {
	spec := secret.Spec{ID: "a", Store: "s"}
	other := spec
	other.Policy = &secret.Policy{Length: 40}
	same := spec
	same.Policy = &secret.Policy{MinLength: 16}
	if spec.Token("1", 0) == other.Token("1", 0) {
		t.Error("two policies give one token")
	}
	if spec.Token("1", 0) != same.Token("1", 0) {
		t.Error("one policy written in two ways gives two tokens")
	}
}

func TestMadeKnowsEveryAttempt(t *testing.T) {
	spec := secret.Spec{ID: "a", Store: "s"}
	for n := range secret.MaxAttempts {
		if !spec.Made("1", spec.Token("1", n)) {
			t.Errorf("the token of attempt %d is not known", n)
		}
	}
	for name, token := range map[string]secret.Token{
		"none": "", "of another version": spec.Token("2", 0), "of a later attempt": spec.Token("1", secret.MaxAttempts),
	} {
		if spec.Made("1", token) {
			t.Errorf("the token %s is taken for ours", name)
		}
	}
}
