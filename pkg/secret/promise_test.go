package secret_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// TestWhatAStoreCannotKeep: every source of a lifetime, and every limit.
func TestWhatAStoreCannotKeep(t *testing.T) {
	t.Parallel()
	created := time.Now()
	const life = 4 * time.Minute
	meta := func(ttl time.Duration, end time.Duration, keeps, held int) secret.Metadata {
		m := current("1", created)
		m.TTL, m.MaxVersions = ttl, keeps
		if end > 0 {
			m.Versions[0].NotAfter = created.Add(end)
		}
		for range held {
			m.Versions = append(m.Versions, secret.Version{ID: "old", Stage: secret.StageRetired, Kept: true})
		}
		return m
	}
	keep := secret.Spec{Retire: secret.RetireKeep}
	for name, tt := range map[string]struct {
		spec secret.Spec
		meta secret.Metadata
		want []secret.FindingCode
	}{
		"nothing":                             {secret.Spec{}, meta(0, 0, 0, 0), nil},
		"a lifetime of the store":             {secret.Spec{}, meta(life, 0, 0, 0), []secret.FindingCode{secret.CodeLifetime}},
		"an end of the store":                 {secret.Spec{}, meta(0, life, 0, 0), []secret.FindingCode{secret.CodeLifetime}},
		"a TTL":                               {secret.Spec{TTL: 301 * time.Second}, meta(0, 0, 0, 0), []secret.FindingCode{secret.CodeLifetime}},
		"no version yet":                      {secret.Spec{}, secret.Metadata{TTL: life}, []secret.FindingCode{secret.CodeLifetime}},
		"an end of the store before the TTL":  {secret.Spec{TTL: 30 * 24 * time.Hour}, meta(0, time.Hour, 0, 0), []secret.FindingCode{secret.CodeStoreEnd}},
		"an end of the store after the TTL":   {secret.Spec{TTL: time.Hour}, meta(0, 2*time.Hour, 0, 0), nil},
		"one version":                         {secret.Spec{}, meta(0, 0, 1, 0), []secret.FindingCode{secret.CodeOneVersion}},
		"two versions, and none is kept":      {secret.Spec{}, meta(0, 0, 2, 0), nil},
		"two versions, and all are kept":      {keep, meta(0, 0, 2, 0), []secret.FindingCode{secret.CodeKeep}},
		"the usual ten, and all are kept":     {keep, meta(0, 0, 10, 0), []secret.FindingCode{secret.CodeKeep}},
		"many versions, and all are kept":     {keep, meta(0, 0, 1000, 0), nil},
		"many versions, and nearly all exist": {keep, meta(0, 0, 120, 118), []secret.FindingCode{secret.CodeKeep}},
		"no limit, and all are kept":          {keep, meta(0, 0, 0, 500), nil},
	} {
		var got []secret.FindingCode
		for _, f := range tt.spec.Unkept(tt.meta) {
			if got = append(got, f.Code); f.Message == "" || f.Remedy == "" {
				t.Errorf("%s: %+v says too little", name, f)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
