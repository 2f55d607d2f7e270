package secret_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

func TestParseTTLSeconds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"1": time.Second, "3600": time.Hour, "316224000": 10 * 366 * 24 * time.Hour,
		"0": 0, "-1": 0, "+1": 0, "": 0, "soon": 0, "1.5": 0, "1e3": 0, "316224001": 0, "99999999999999999999": 0,
	} {
		got, err := secret.ParseTTLSeconds(text)
		if got != want || errors.Is(err, secret.ErrInvalidTTL) != (want == 0) {
			t.Errorf("%q: %s, err %v; want %s", text, got, err, want)
		}
	}
	if got := secret.TTLVariable("TRADEPULSE_AUDIT_SECRET_ID"); got != "TRADEPULSE_AUDIT_SECRET_ID_TTL_SECONDS" {
		t.Errorf("the variable is %s", got)
	}
}
