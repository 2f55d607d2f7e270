package rollout

import (
	"reflect"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

func TestUnannounced(t *testing.T) {
	t.Parallel()
	m := secret.Metadata{Versions: []secret.Version{{ID: "v2", Stage: secret.StageCurrent}}}
	for name, c := range map[string]struct {
		m    secret.Metadata
		last secret.VersionID
		want bool
	}{
		"the log has the current version":     {m, "v2", false},
		"the log has the version before":      {m, "v1", true},
		"the log is empty":                    {m, "", true},
		"a secret without a version has none": {secret.Metadata{}, "", false},
		"a secret that lost its versions":     {secret.Metadata{}, "v1", false},
	} {
		if got := Unannounced(c.m, events.Data{VersionID: c.last}); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

func TestAMissedAnnouncementNamesItsCause(t *testing.T) {
	t.Parallel()
	s := secret.Spec{ID: "ID", Store: "main", TTL: time.Hour}
	made := t0.Add(-time.Minute)
	for name, c := range map[string]struct {
		token secret.Token
		want  events.Reason
	}{
		"a rotation made the version":        {s.Token("v1", 0), events.ReasonNearExpiry},
		"a rotation made its second value":   {s.Token("v1", 1), events.ReasonNearExpiry},
		"a rotation from another version":    {s.Token("v0", 0), events.ReasonExternal},
		"another program wrote it":           {"another", events.ReasonExternal},
		"the store does not know its writer": {"", events.ReasonExternal},
	} {
		m := secret.Metadata{Versions: []secret.Version{
			{ID: "v1", Stage: secret.StagePrevious}, {ID: "v2", Stage: secret.StageCurrent, Token: c.token, CreatedAt: made},
		}}
		e := MissedAnnouncement("/test", t0, s, m)
		want := events.Data{
			SecretID: "ID", Store: "main", VersionID: "v2", PreviousVersionID: "v1", Reason: c.want, Missed: true,
			OccurredAt: t0, NotAfter: made.Add(time.Hour), RotationID: c.token,
		}
		if e.Type != events.TypeRotated || e.Source != "/test" || !e.Time.Equal(t0) || !reflect.DeepEqual(e.Data, want) {
			t.Errorf("%s: got %+v, want %+v", name, e.Data, want)
		}
	}
}

// TestAMissedAnnouncementNamesTheVersionThatIsToBeRetired: a retirement took its stage away
// before the log was lost. The rollout that begins again does not end before it is retired.
func TestAMissedAnnouncementNamesTheVersionThatIsToBeRetired(t *testing.T) {
	t.Parallel()
	s := secret.Spec{ID: "ID", Store: "main", TTL: time.Hour}
	at := func(id secret.VersionID, minute int, v secret.Version) secret.Version {
		v.ID, v.CreatedAt, v.Stage = id, t0.Add(time.Duration(minute)*time.Minute), secret.StageRetired
		return v
	}
	current := secret.Version{ID: "v3", CreatedAt: t0, Stage: secret.StageCurrent, Token: s.Token("v2", 0)}
	for name, c := range map[string]struct {
		before []secret.Version
		want   secret.VersionID
		why    events.Reason
	}{
		"its stage is gone":                   {[]secret.Version{at("v1", -2, secret.Version{}), at("v2", -1, secret.Version{})}, "v2", events.ReasonNearExpiry},
		"it is retired":                       {[]secret.Version{at("v2", -1, secret.Version{Empty: true})}, "", events.ReasonExternal},
		"it is kept on purpose":               {[]secret.Version{at("v2", -1, secret.Version{Kept: true})}, "", events.ReasonExternal},
		"a later pending one was given up":    {[]secret.Version{at("v4", 1, secret.Version{})}, "", events.ReasonExternal},
		"the store gives no time of versions": {[]secret.Version{{ID: "v2", Stage: secret.StageRetired}}, "v2", events.ReasonNearExpiry},
	} {
		d := MissedAnnouncement("/test", t0, s, secret.Metadata{Versions: append(c.before, current)}).Data
		if d.PreviousVersionID != c.want || d.Reason != c.why {
			t.Errorf("%s: %s before, because of %s; want %s, %s", name, d.PreviousVersionID, d.Reason, c.want, c.why)
		}
		r := Begin(d)
		for range 3 {
			r, _ = Advance(t0, r, Facts{Configured: true, Deadline: time.Hour, Blocking: []events.Blocker{}})
		}
		if r.Ended() != (c.want == "") {
			t.Errorf("%s: the rollout is %s, and has ended: %t", name, r.State, r.Ended())
		}
	}
}
