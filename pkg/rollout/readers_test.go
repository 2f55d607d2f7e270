package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

const (
	apiRole       = "arn:aws:iam::111122223333:role/api"
	reportingRole = "arn:aws:iam::111122223333:role/reporting"
)

// readBy is a sighting that was stored at a time relative to t0, where the question
// is asked. The version before was promoted 26 hours before that.
func readBy(identity string, ago time.Duration) events.Sighting {
	return events.Sighting{SecretID: "S", Store: "x", Identity: identity, VersionID: "v1", At: t0.Add(-ago), StoredAt: t0.Add(-ago)}
}

func daily() Question {
	q := question()
	q.Spec.TTL = 24 * time.Hour
	return q
}

func source(since, heard, at time.Duration) events.ReadSource {
	return events.ReadSource{Store: "x", Name: "audit", Since: t0.Add(-since), Heard: t0.Add(-heard), At: t0.Add(-at)}
}

func TestReadersThatReportNothing(t *testing.T) {
	t.Parallel()
	known := KnownReaders{Services: map[string][]string{"api": {apiRole}, "other": {"approle/other"}}, Ignore: []string{"approle/backup"}}
	heard := known
	heard.Sources = []ReadSource{{"y", "audit"}, {"x", "audit"}}
	staged := readBy(reportingRole, time.Hour)
	staged.VersionID, staged.Stage = "", "AWSPREVIOUS"
	bare := staged
	bare.Stage = ""
	entity := readBy("kubernetes-pay-api", time.Hour)
	entity.Entity = "entity/7"
	byEntity := KnownReaders{Services: map[string][]string{"api": {"entity/7"}}}
	whole := source(48*time.Hour, time.Minute, time.Second)
	for name, tt := range map[string]struct {
		known   KnownReaders
		seen    events.Reads
		fleet   events.Fleet
		because string // "" leaves the yes
	}{
		"nothing was seen":                        {known, events.Reads{}, fleetOf(using("v2")), ""},
		"the identity of a service that reports":  {known, events.Reads{Sightings: []events.Sighting{readBy(apiRole, time.Hour)}}, fleetOf(using("v2")), ""},
		"an identity that is ignored":             {known, events.Reads{Sightings: []events.Sighting{readBy("approle/backup", time.Hour)}}, fleetOf(using("v2")), ""},
		"an identity of our own":                  {known, events.Reads{Sightings: []events.Sighting{readBy("role/rotator", time.Hour)}, Own: []events.OwnReader{{Store: "x", Identity: "role/rotator"}}}, fleetOf(using("v2")), ""},
		"an identity of our own elsewhere":        {known, events.Reads{Sightings: []events.Sighting{readBy("role/rotator", time.Hour)}, Own: []events.OwnReader{{Store: "y", Identity: "role/rotator"}}}, fleetOf(using("v2")), "role/rotator read version v1"},
		"an identity known by another name":       {byEntity, events.Reads{Sightings: []events.Sighting{entity}}, fleetOf(using("v2")), ""},
		"an identity of nobody":                   {known, events.Reads{Sightings: []events.Sighting{readBy(reportingRole, time.Hour)}}, fleetOf(using("v2")), reportingRole + " read version v1 at 2026-03-01T11:00:00Z and reports no use"},
		"an identity of nobody, by a stage":       {known, events.Reads{Sightings: []events.Sighting{staged}}, fleetOf(using("v2")), reportingRole + " read AWSPREVIOUS at 2026-03-01T11:00:00Z and reports no use"},
		"an identity of nobody, of some version":  {known, events.Reads{Sightings: []events.Sighting{bare}}, fleetOf(using("v2")), reportingRole + " read it at 2026-03-01T11:00:00Z and reports no use"},
		"no configuration at all":                 {KnownReaders{}, events.Reads{Sightings: []events.Sighting{readBy(apiRole, time.Hour)}}, fleetOf(using("v2")), apiRole + " read version v1"},
		"a service that reports another secret":   {known, events.Reads{Sightings: []events.Sighting{readBy("approle/other", time.Hour)}}, fleetOf(using("v2")), "approle/other read version v1"},
		"a service that reports and is no user":   {known, events.Reads{Sightings: []events.Sighting{readBy("approle/other", time.Hour)}}, fleetOf(using("v2"), user(using("v2"), foreign)), ""},
		"several":                                 {known, events.Reads{Sightings: []events.Sighting{readBy("a", 3*time.Hour), readBy("b", time.Hour), readBy("c", 2*time.Hour)}}, fleetOf(using("v2")), "b read version v1 at 2026-03-01T11:00:00Z and reports no use; so do 2 other identities"},
		"just within a TTL before the promotion":  {known, events.Reads{Sightings: []events.Sighting{readBy(reportingRole, 26*time.Hour)}}, fleetOf(using("v2")), reportingRole},
		"earlier than a TTL before the promotion": {known, events.Reads{Sightings: []events.Sighting{readBy(reportingRole, 26*time.Hour+1)}, More: t0.Add(-26*time.Hour - 1)}, fleetOf(using("v2")), ""},
		"more than are kept":                      {known, events.Reads{More: t0.Add(-time.Hour)}, fleetOf(using("v2")), "more than 64 identities read it"},
		"a source that missed nothing":            {heard, events.Reads{Sources: []events.ReadSource{whole}}, fleetOf(using("v2")), ""},
		"a source of which nothing is known":      {heard, events.Reads{}, fleetOf(using("v2")), "the audit source audit of the store x has heard of nothing yet"},
		"a source that began too late":            {heard, events.Reads{Sources: []events.ReadSource{source(25*time.Hour, 0, 0)}}, fleetOf(using("v2")), "may have missed reads before 2026-02-28T11:00:00Z"},
		"a source that stopped":                   {heard, events.Reads{Sources: []events.ReadSource{source(48*time.Hour, 3*time.Minute, 3*time.Minute)}}, fleetOf(using("v2")), "has not run since 2026-03-01T11:57:00Z"},
		"a source whose device is off":            {heard, events.Reads{Sources: []events.ReadSource{source(48*time.Hour, 2*time.Hour, 0)}}, fleetOf(using("v2")), "has heard nothing since 2026-03-01T10:00:00Z: check that its audit device is on"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := daily()
			got := q.Safe(inState(events.RolloutDraining), tt.fleet).Among(q.Readers(tt.seen, tt.fleet, tt.known))
			want := AnswerUnknown
			if tt.because == "" {
				want = AnswerYes
			}
			if got.Answer != want || !strings.Contains(got.Because, tt.because) {
				t.Errorf("%s, because %s; want %s, because %s", got.Answer, got.Because, want, tt.because)
			}
		})
	}
}

// TestReadersChangeNothingButAYes: what a log says is a hint that may have been
// forged, so it must neither end what is waited for nor hide it.
func TestReadersChangeNothingButAYes(t *testing.T) {
	t.Parallel()
	q := daily()
	lost := fleetOf(user(using("v2"), serves))
	lost.Confirmed = time.Time{}
	for i, f := range []events.Fleet{fleetOf(using("v1")), fleetOf(), fleetOf(user(using("v2"), accepts)), fleetOf(user(using("v2"), serves), user(using("v1"), longAgo, serves)), lost} {
		before := q.Safe(inState(events.RolloutDraining), f)
		after := before.Among(q.Readers(events.Reads{Sightings: []events.Sighting{readBy(reportingRole, 0)}, More: t0}, f, KnownReaders{}))
		if before.Answer == AnswerYes {
			t.Fatalf("fleet %d is for the test above", i)
		}
		if after.Answer != before.Answer || after.Because != before.Because {
			t.Errorf("fleet %d: %s, because %s, became %s, because %s", i, before.Answer, before.Because, after.Answer, after.Because)
		}
		if len(after.UnknownReaders) != 1 || fmt.Sprint(after.Waiting) != fmt.Sprint(before.Waiting) {
			t.Errorf("fleet %d: readers %v, waiting %v", i, after.UnknownReaders, after.Waiting)
		}
	}
}

// TestASecretWithoutATTL looks back as far as sightings are kept.
func TestASecretWithoutATTL(t *testing.T) {
	t.Parallel()
	for _, ttl := range []time.Duration{0, 365 * 24 * time.Hour} {
		q := question()
		q.Spec.TTL = ttl
		edge := 2*time.Hour + events.ReadsKept
		seen := events.Reads{Sightings: []events.Sighting{readBy("a", edge), readBy("b", edge+1)}}
		if got := q.Readers(seen, fleetOf(using("v2")), KnownReaders{}).Readers; len(got) != 1 || got[0].Identity != "a" {
			t.Errorf("TTL %s: %v", ttl, got)
		}
	}
}
