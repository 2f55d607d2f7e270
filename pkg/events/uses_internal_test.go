package events

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAnAnswerOfALostStreamIsNotTaken: a replica that was paused while the stream
// was lost and made again answers from the stream before, whose sequences may be
// higher.
func TestAnAnswerOfALostStreamIsNotTaken(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := &snapshot{seq: 7, since: now}
	for name, c := range map[string]struct {
		answer answer
		want   bool
	}{
		"all of this stream":             {answer{upTo: 7, records: []record{{at: now}, {at: now.Add(time.Second)}}}, true},
		"from before the barrier":        {answer{upTo: 6, records: []record{{at: now}}}, false},
		"a record of the stream before":  {answer{upTo: 900, records: []record{{at: now.Add(-time.Second)}}}, false},
		"a barrier of the stream before": {answer{upTo: 900, records: []record{{at: now}, {at: now.Add(-time.Second)}}}, false},
		"nothing":                        {answer{}, false},
	} {
		if got := s.reached(c.answer); got != c.want {
			t.Errorf("%s: reached() = %t", name, got)
		}
	}
}

func FuzzDecodeUse(f *testing.F) {
	f.Add([]byte(`{"secret_id":"a","service":"api","instance":"one","incarnation":"n","version_id":"v1","accepts":["v0"],"past_fence":"refuse","fence_seconds":60}`))
	f.Add([]byte(`{"secret_id":"a","service":"api","instance":"one","incarnation":"n","accepts":null}`))
	f.Add([]byte(`{"instance":"a.b"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, body []byte) {
		u, err := decodeUse("a", "api", "n", body)
		if u.SecretID != "a" || u.Service != "api" || u.Incarnation != "n" || u.Instance != "" && ValidToken(u.Instance) != nil {
			t.Fatalf("taken for a use of %s by %s/%s/%s", u.SecretID, u.Service, u.Instance, u.Incarnation)
		}
		if err != nil && (u.VersionID != "" || u.Accepts != nil || u.PastFence != PastFenceServe) {
			t.Fatalf("a use that is not understood says %+v", u)
		}
		if u.PastFence != PastFenceServe && u.PastFence != PastFenceRefuse {
			t.Fatalf("past the fence it does %q", u.PastFence)
		}
	})
}

func FuzzDecodePresence(f *testing.F) {
	f.Add([]byte(`{"service":"api","instance":"one","incarnation":"n","lease_seconds":30,"ended":true,"process":{"boot_id":"b","pid":1,"start_ticks":2}}`))
	f.Add([]byte(`{"service":"api","instance":"one","incarnation":"n"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodePresence("api", "one", "n", body)
		if p.Service != "api" || p.Instance != "one" || p.Incarnation != "n" {
			t.Fatalf("taken for the presence of %s/%s/%s", p.Service, p.Instance, p.Incarnation)
		}
		if err != nil && p.Ended {
			t.Fatal("a presence that is not understood is an end")
		}
	})
}

func TestAKeyOfNoSecretIsNotUnderstood(t *testing.T) {
	t.Parallel()
	if u, err := decodeUse(secret.Key("a=zz"), "api", "n", []byte(`{}`)); err == nil || u.Service != "api" {
		t.Errorf("decodeUse() = %+v, %v", u, err)
	}
}
