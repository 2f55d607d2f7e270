package gate_test

import (
	"testing"

	"github.com/tradepulse/rotator/pkg/gate"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestSummaryCounts(t *testing.T) {
	t.Parallel()
	a, b := secret.Finding{Subject: "A"}, secret.Finding{Subject: "B"}
	for want, found := range map[string][]secret.Finding{
		"1 of 2 secrets is not fit for use, 1 violation":   {a},
		"2 of 2 secrets are not fit for use, 3 violations": {a, b, b},
	} {
		if got := gate.Summary(2, found); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
