package secret_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

// TestNotesAreOneLine: what a person says of a secret is printed in tables and in CSV.
func TestNotesAreOneLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "", "Payments, Vienna": "", "zahlungen@example.com": "", "schlüssel für Aufträge": "",
		"two\nlines": "one line", "a\tb": "one line", "\xff": "not UTF-8", strings.Repeat("x", secret.MaxNote+1): "the most is 256",
	} {
		spec := secret.Spec{ID: "DB", Store: "main", Owner: text, Purpose: text, Contact: text}
		err := spec.Validate()
		if (err == nil) != (want == "") || err != nil && (!errors.Is(err, secret.ErrInvalidSpec) || strings.Count(err.Error(), want) != 3) {
			t.Errorf("%.20q: %v, want %q of each", text, err, want)
		}
	}
}
