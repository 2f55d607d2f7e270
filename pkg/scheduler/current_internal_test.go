package scheduler

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestWhatBecameOfASecretSinceTheSweep(t *testing.T) {
	t.Parallel()
	now := time.Now()
	was := watched{id: "DB", version: "v1", reason: ReasonScheduled, end: now}
	next := func(end time.Time) events.Data { return events.Data{SecretID: "DB", VersionID: "v2", NotAfter: end} }
	for name, tt := range map[string]struct {
		w     watched
		d     events.Data
		later bool
		want  Reason
	}{
		"its version ended":                     {was, events.Data{VersionID: "v1"}, false, ReasonExpired},
		"it was rotated before":                 {was, next(now.Add(time.Hour)), true, ReasonScheduled},
		"its next version ended too":            {was, next(now), true, ReasonExpired},
		"its next version has no end":           {watched{"DB", "v1", ReasonExpired, now}, next(time.Time{}), true, ReasonScheduled},
		"its log is older than the sweep":       {watched{"DB", "", ReasonMissing, time.Time{}}, next(now), false, ReasonMissing},
		"a version that is due has not ended":   {watched{"DB", "v1", ReasonNearExpiry, now.Add(time.Second)}, events.Data{}, false, ReasonNearExpiry},
		"a rotation that is tried again failed": {watched{"DB", "v1", ReasonRetrying, now}, events.Data{}, false, ReasonRetrying},
	} {
		if got := tt.w.became(now, tt.d, tt.later); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	r := newResult()
	for id, end := range map[secret.ID]time.Duration{"a": 3 * time.Minute, "b": -time.Minute, "c": 0, "d": 5 * time.Minute, "e": -2 * time.Minute} {
		r.count(id, "v", ReasonScheduled, now.Add(end))
	}
	r.count("m", "", ReasonMissing, time.Time{})
	r.count("p", "v", ReasonPaused, now.Add(-time.Hour))
	r.sort()
	var got string
	for _, w := range r.open(now) {
		got += string(w.id)
	}
	if got != "mebc" {
		t.Errorf("open are %q, want m, e, b and c", got)
	}
}
