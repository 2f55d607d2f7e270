package scheduler_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// frozen returns what a decision is about: a secret of an hour, made at begin.
func frozen(begin time.Time, f ...*secret.Freeze) (secret.Spec, scheduler.Facts) {
	facts := scheduler.Facts{Known: true}
	facts.Meta.Versions = []secret.Version{{ID: "v1", Stage: secret.StageCurrent, CreatedAt: begin}}
	return secret.Spec{ID: "ID", Store: "mem", TTL: time.Hour, MaxJitter: -1, Services: []string{"api"}, Freezes: f}, facts
}

// TestAFrozenSecretSaysWhichFreezeAndUntilWhen: while it waits, and before that.
func TestAFrozenSecretSaysWhichFreezeAndUntilWhen(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 12, 20, 12, 0, 0, 0, time.UTC)
	f := &secret.Freeze{Reason: "year-end", From: begin.Add(30 * time.Minute), To: begin.Add(48 * time.Hour)}
	spec, facts := frozen(begin, f)
	d := scheduler.Evaluate(begin, spec, facts)
	if d.Reason != scheduler.ReasonScheduled || !d.Arm || !d.At.Equal(f.To) || d.Freeze != f || !strings.Contains(d.Message, "a freeze (year-end) until 2026-12-22T12:00:00Z") {
		t.Errorf("before it is due: %+v", d)
	}
	d = scheduler.Evaluate(begin.Add(2*time.Hour), spec, facts)
	if d.Reason != scheduler.ReasonFrozen || !d.Arm || !d.At.Equal(f.To) || !strings.Contains(d.Message, "year-end") {
		t.Errorf("when it is due: %+v", d)
	}
	if d = scheduler.Evaluate(f.To, spec, facts); d.Reason != scheduler.ReasonExpired || d.At.After(f.To) {
		t.Errorf("after the freeze: %+v", d)
	}
	spec.Create, facts.Meta.Versions = true, nil
	if d = scheduler.Evaluate(f.From, spec, facts); d.Reason != scheduler.ReasonMissing {
		t.Errorf("the first version: %+v", d)
	}
}

// TestAFreezeHoldsWhatItSelects: by every selection at once.
func TestAFreezeHoldsWhatItSelects(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		freeze secret.Freeze
		holds  bool
	}{
		"everything":      {secret.Freeze{}, true},
		"its service":     {secret.Freeze{Services: []string{"web", "api"}}, true},
		"another service": {secret.Freeze{Services: []string{"web"}}, false},
		"its store":       {secret.Freeze{Stores: []string{"mem"}}, true},
		"another store":   {secret.Freeze{Stores: []string{"aws"}, Services: []string{"api"}}, false},
		"its id":          {secret.Freeze{Secrets: []secret.ID{"ID"}}, true},
		"another id":      {secret.Freeze{Secrets: []secret.ID{"OTHER"}}, false},
		"its tags":        {secret.Freeze{Tags: map[string]string{"env": "prod", "team": ""}}, true},
		"another tag":     {secret.Freeze{Tags: map[string]string{"env": "test"}}, false},
		"a missing tag":   {secret.Freeze{Tags: map[string]string{"pci": ""}}, false},
	} {
		c.freeze.From, c.freeze.To = now.Add(-time.Hour), now.Add(time.Hour)
		spec, facts := frozen(now.Add(-time.Hour), &c.freeze)
		facts.Meta.Attributes = map[string]string{"env": "prod", "team": "a"}
		if d := scheduler.Evaluate(now, spec, facts); (d.Reason == scheduler.ReasonFrozen) != c.holds {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestARecurringFreezeEndsInAWindow: and not between two windows.
func TestARecurringFreezeEndsInAWindow(t *testing.T) {
	t.Parallel()
	night, err := secret.ParseWindow("0 2 * * *", "", 2*time.Hour)
	weekend, werr := secret.ParseWindow("0 16 * * 5", "", 64*time.Hour)
	if err != nil || werr != nil {
		t.Fatal(err, werr)
	}
	saturday := time.Date(2026, 12, 19, 2, 30, 0, 0, time.UTC)
	spec, facts := frozen(saturday.Add(-24*time.Hour), &secret.Freeze{Reason: "weekend", Window: weekend})
	spec.TTL, spec.RefreshMargin, spec.Windows = 30*24*time.Hour, 29*24*time.Hour, []secret.Window{night}
	d := scheduler.Evaluate(saturday, spec, facts)
	if want := time.Date(2026, 12, 22, 2, 0, 0, 0, time.UTC); d.Reason != scheduler.ReasonFrozen || !d.At.Equal(want) {
		t.Errorf("got %+v, want %s", d, want)
	}
}

// TestAFreezeIsAPauseWithAnEnd: at every moment a freeze holds exactly what a pause would
// that is set at its begin and lifted at its end, and changes nothing else.
func TestAFreezeIsAPauseWithAnEnd(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(18, 5))
	begin := time.Date(2026, 12, 20, 12, 0, 0, 0, time.UTC)
	minutes := func(n int) time.Duration { return time.Duration(r.IntN(n)) * time.Minute }
	for range 20_000 {
		f := &secret.Freeze{Reason: "r", From: begin.Add(minutes(180) - time.Hour)}
		f.To = f.From.Add(time.Minute + minutes(180))
		now := begin.Add(minutes(240))
		spec, facts := frozen(begin, f)
		if r.IntN(2) == 0 {
			facts.Timer = events.Timer{Seq: 1, At: now.Add(minutes(60))}
		}
		got := scheduler.Evaluate(now, spec, facts)
		spec.Freezes = nil
		free := scheduler.Evaluate(now, spec, facts)
		facts.Pause = events.Pause{SecretID: "ID", Paused: !now.Before(f.From) && now.Before(f.To)}
		paused := scheduler.Evaluate(now, spec, facts)
		held := facts.Pause.Paused && !now.Before(free.At)
		switch {
		case held && (got.Reason != scheduler.ReasonFrozen || got.Arm != paused.Arm || got.Disarm != paused.Disarm || !got.At.Equal(f.To)):
			t.Fatalf("at %s, freeze %s:\n%+v\npaused %+v", now, f, got, paused)
		case !held && (got.Reason != free.Reason || got.Arm != free.Arm || got.Disarm != free.Disarm || got.At.Before(free.At)):
			t.Fatalf("at %s, freeze %s:\n%+v\nfree %+v", now, f, got, free)
		case got.At.Before(f.To) && !got.At.Before(f.From) && now.Before(f.To) && !got.At.Before(now):
			t.Fatalf("at %s, freeze %s: it starts within: %+v", now, f, got)
		}
	}
}
