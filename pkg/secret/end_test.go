package secret_test

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// TestTheAttributeGivesAnAbsoluteEnd: to the version that another program wrote with
// it, and not to its successors.
func TestTheAttributeGivesAnAbsoluteEnd(t *testing.T) {
	t.Parallel()
	created := date(t, "2026-12-01T00:00:00Z")
	at := date(t, "2027-01-31T12:00:00Z")
	month, never := created.Add(30*24*time.Hour), time.Time{}
	random := secret.Token("8c54c03d-8f5c-4a6e-9f36-0f4d2f0c7d11")
	for name, tt := range map[string]struct {
		text string
		ttl  time.Duration
		v    secret.Version
		want time.Time
	}{
		"there is no other end":                  {text: "2027-01-31T12:00:00Z", v: secret.Version{CreatedAt: created, Token: random}, want: at},
		"in another time zone":                   {text: "2027-01-31T13:00:00+01:00", v: secret.Version{CreatedAt: created}, want: at},
		"the TTL ends first":                     {text: "2027-01-31T12:00:00Z", ttl: 30 * 24 * time.Hour, v: secret.Version{CreatedAt: created}, want: month},
		"it ends before the TTL":                 {text: "2027-01-31T12:00:00Z", ttl: 365 * 24 * time.Hour, v: secret.Version{CreatedAt: created}, want: at},
		"the version was made later":             {text: "2026-11-30T00:00:00Z", v: secret.Version{CreatedAt: created}, want: never},
		"a rotation made the version":            {text: "2027-01-31T12:00:00Z", v: secret.Version{CreatedAt: created, Token: secret.NewToken("ID", "v1", "policy", 0)}, want: never},
		"it is no time, which the catalog tells": {text: "next year", v: secret.Version{CreatedAt: created}, want: never},
	} {
		m := secret.Metadata{Attributes: map[string]string{"rotator:not_after": tt.text}}
		if got := (secret.Spec{ID: "ID", TTL: tt.ttl}).NotAfter(m, tt.v); !got.Equal(tt.want) {
			t.Errorf("%s: the version ends at %s, want %s", name, got, tt.want)
		}
	}
}
