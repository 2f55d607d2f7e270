package inspect_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestAReaderThatReportsNothingIsNamed: by the answer, in its JSON form and by a
// finding, until the configuration explains it.
func TestAReaderThatReportsNothingIsNamed(t *testing.T) {
	t.Parallel()
	spec := secret.Spec{ID: "DB", Store: "main", Path: "db", TTL: 24 * time.Hour, Services: []string{"api"}}
	s := newSite(t, spec)
	v := s.put("db")
	at := time.Now()
	d := events.Data{SecretID: "DB", Store: "main", VersionID: v, Reason: events.ReasonManual, OccurredAt: at}
	for _, e := range []events.Event{
		events.Rotated("/test", at, d),
		rollout.Retired("/test", at, events.Data{SecretID: "DB", Store: "main", VersionID: v, OccurredAt: at, Rollout: &events.Rollout{StartedAt: at}}, 1),
	} {
		if err := s.bus.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	s.report("api", v)
	if err := s.bus.RecordRead(t.Context(), events.Sighting{SecretID: "DB", Store: "main", Identity: "approle/reporting", VersionID: "3", At: at}); err != nil {
		t.Fatal(err)
	}
	known := func(ignore ...string) *rollout.KnownReaders { return &rollout.KnownReaders{Ignore: ignore} }
	heard := known("approle/reporting")
	heard.Sources = []rollout.ReadSource{{Store: "main", Name: "audit"}}
	for name, c := range map[string]struct {
		known  *rollout.KnownReaders
		answer rollout.Answer
		text   string
		codes  []secret.FindingCode
		named  int
	}{
		"reads are not heard of":      {nil, rollout.AnswerYes, "", nil, 0},
		"the reader is not explained": {known(), rollout.AnswerUnknown, "approle/reporting read version 3 at ", []secret.FindingCode{inspect.CodeUnknownReader}, 1},
		"the reader is ignored":       {known("approle/reporting"), rollout.AnswerYes, "", nil, 0},
		"the source hears nothing":    {heard, rollout.AnswerUnknown, "has heard of nothing yet", []secret.FindingCode{inspect.CodeReadsMissed}, 0},
	} {
		s.in.Readers = c.known
		got := s.secrets("DB")[0]
		if got.Error != "" || got.SafeToRevoke == nil {
			t.Fatalf("%s: %+v", name, got)
		}
		var codes []secret.FindingCode
		for _, f := range got.Findings {
			codes = append(codes, f.Code)
		}
		if a := got.SafeToRevoke; a.Answer != c.answer || !strings.Contains(a.Because, c.text) || len(a.UnknownReaders) != c.named || !slices.Equal(codes, c.codes) {
			t.Errorf("%s: %s, because %s; readers %v, findings %v", name, a.Answer, a.Because, a.UnknownReaders, codes)
		}
		if got.NeedsAttention() {
			t.Errorf("%s: a hint that can be forged must not fail status", name)
		}
	}
}
