package secret_test

import (
	"errors"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAFieldIsReplacedInPlace: the rest of the document stays byte for byte.
func TestAFieldIsReplacedInPlace(t *testing.T) {
	t.Parallel()
	doc := secret.NewValue([]byte("{ \"user\" : \"a\",\n \"port\":\"5432\" , \"n\":1}"))
	got, err := doc.WithField("/user", `b"\ö`)
	if want := "{ \"user\" : \"b\\\"\\\\ö\",\n \"port\":\"5432\" , \"n\":1}"; err != nil || string(got.Reveal()) != want {
		t.Errorf("WithField() = %s, %v; want %s", got.Reveal(), err, want)
	}
	if back, err := got.Field("/user"); err != nil || string(back.Reveal()) != `b"\ö` {
		t.Errorf("Field() = %s, %v", back.Reveal(), err)
	}
	for pointer, text := range map[string]string{"/none": "x", "/n": "x", "user": "x", "/user": "line\nend"} {
		if _, err := doc.WithField(pointer, text); err == nil {
			t.Errorf("WithField(%q, %q) succeeded", pointer, text)
		}
	}
	if _, err := doc.WithField("/none", "x"); !errors.Is(err, secret.ErrNoField) {
		t.Errorf("err %v, want ErrNoField", err)
	}
}
