package rollout

import (
	"reflect"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	grace    = 5 * time.Minute
	deadline = 15 * time.Minute
)

var (
	nobody = []events.Blocker{{Reason: events.BlockNoSubscriber}}
	old    = []events.Blocker{{Service: "api", Instance: "1", VersionID: "v1", Reason: events.BlockOldVersion}}
	silent = []events.Blocker{{Service: "api", Reason: events.BlockNoInstance}}
)

// inState returns a rollout from v1 to v2 that entered a state at t0.
func inState(s events.RolloutState) Rollout {
	r := Begin(events.Data{SecretID: "S", VersionID: "v2", PreviousVersionID: "v1", OccurredAt: t0.Add(-time.Minute)})
	r.State = s
	if s != "" {
		r.Since = t0
	}
	if s == events.RolloutConverged {
		r.ConvergedAt, r.RetireAt, r.Reminder = t0, t0.Add(grace), t0.Add(grace+RetireReminder)
	}
	return r
}

func with(r Rollout, change func(*Rollout)) Rollout {
	change(&r)
	return r
}

func first(r *Rollout)    { r.PreviousVersionID = "" }
func unasked(r *Rollout)  { r.Reminder = time.Time{} }
func fellBack(r *Rollout) { r.ConvergedAt = t0.Add(-time.Hour) }

func TestAdvance(t *testing.T) {
	t.Parallel()
	facts := func(blocking []events.Blocker) Facts {
		return Facts{Configured: true, Grace: grace, Deadline: deadline, Blocking: blocking, Fresh: true}
	}
	but := func(f Facts, change func(*Facts)) Facts { change(&f); return f }
	newer := func(f *Facts) { f.Newer = true }
	stale := func(f *Facts) { f.Fresh = false }
	unknown := func(f *Facts) { f.Configured = false }
	endless := func(f *Facts) { f.Deadline = 0 }
	publish := func(why Reason) Action { return Action{Kind: ActionPublish, Reason: why} }
	arm := func(why Reason, at time.Duration) Action {
		return Action{Kind: ActionArmRetire, Reason: why, At: t0.Add(at)}
	}
	refresh := Action{Kind: ActionRefresh, Reason: ReasonNotFresh}
	disarm := Action{Kind: ActionDisarmRetire, Reason: ReasonFellBack}

	for name, tt := range map[string]struct {
		r     Rollout
		after time.Duration
		f     Facts
		state events.RolloutState
		do    []Action
	}{
		"an announced version begins to roll":                 {inState(""), 0, facts(old), events.RolloutRolling, []Action{publish(ReasonAnnounced)}},
		"a version that is used already begins to roll first": {inState(""), 0, facts(nil), events.RolloutRolling, []Action{publish(ReasonAnnounced)}},
		"a rolling version waits for who runs another":        {inState(events.RolloutRolling), deadline - 1, facts(old), events.RolloutRolling, nil},
		"a rolling version converges when nobody blocks, and the retirement is armed for the end of the grace period": {
			inState(events.RolloutRolling), time.Minute, facts(nil), events.RolloutConverged,
			[]Action{publish(ReasonApplied), arm(ReasonGrace, time.Minute+grace)},
		},
		"without a grace period the retirement is armed for now": {
			inState(events.RolloutRolling), time.Minute, but(facts(nil), func(f *Facts) { f.Grace = 0 }), events.RolloutConverged,
			[]Action{publish(ReasonApplied), arm(ReasonGrace, time.Minute)},
		},
		"a first version converges and nothing is retired":          {with(inState(events.RolloutRolling), first), 0, facts(nil), events.RolloutConverged, []Action{publish(ReasonApplied)}},
		"a first version that has converged has come to its end":    {with(inState(events.RolloutConverged), first), time.Hour, facts(old), events.RolloutConverged, nil},
		"a first version that nobody uses keeps nothing waiting":    {with(inState(events.RolloutRolling), first), time.Hour, facts(nobody), events.RolloutRolling, nil},
		"a first version stalls when its subscriber is silent":      {with(inState(events.RolloutRolling), first), deadline, facts(silent), events.RolloutStalled, []Action{publish(ReasonDeadline)}},
		"a version that nobody uses stalls if it replaced one":      {inState(events.RolloutRolling), deadline, facts(nobody), events.RolloutStalled, []Action{publish(ReasonDeadline)}},
		"silence is never convergence":                              {inState(events.RolloutRolling), time.Minute, facts(silent), events.RolloutRolling, nil},
		"a rolling version stalls at the deadline":                  {inState(events.RolloutRolling), deadline, facts(old), events.RolloutStalled, []Action{publish(ReasonDeadline)}},
		"a stall is declared on fresh reports only":                 {inState(events.RolloutRolling), deadline, but(facts(old), stale), events.RolloutRolling, []Action{refresh}},
		"without a deadline nothing stalls":                         {inState(events.RolloutRolling), 1000 * time.Hour, but(facts(old), endless), events.RolloutRolling, nil},
		"convergence at the deadline is no stall":                   {inState(events.RolloutRolling), deadline, facts(nil), events.RolloutConverged, []Action{publish(ReasonApplied), arm(ReasonGrace, deadline+grace)}},
		"a stalled version stays stalled while somebody blocks":     {inState(events.RolloutStalled), time.Hour, facts(old), events.RolloutStalled, nil},
		"a stalled version has its reports read again now and then": {inState(events.RolloutStalled), time.Hour, but(facts(old), stale), events.RolloutStalled, []Action{refresh}},
		"a stalled version converges when nobody blocks any more":   {inState(events.RolloutStalled), time.Hour, facts(nil), events.RolloutConverged, []Action{publish(ReasonApplied), arm(ReasonGrace, time.Hour+grace)}},
		"a stalled version rolls again when the deadline is removed": {
			inState(events.RolloutStalled), time.Hour, but(facts(old), endless), events.RolloutRolling, []Action{publish(ReasonNoDeadline)},
		},
		"a converged version falls back when an instance appears that runs another": {
			inState(events.RolloutConverged), time.Minute, facts(old), events.RolloutRolling, []Action{publish(ReasonFellBack), disarm},
		},
		"a converged version falls back when its subscriber goes silent": {
			inState(events.RolloutConverged), time.Minute, facts(silent), events.RolloutRolling, []Action{publish(ReasonFellBack), disarm},
		},
		"a version that fell back is held before it converges again": {with(inState(events.RolloutRolling), fellBack), HoldOff - 1, facts(nil), events.RolloutRolling, nil},
		"a version that fell back converges after that": {
			with(inState(events.RolloutRolling), fellBack), HoldOff, facts(nil), events.RolloutConverged,
			[]Action{publish(ReasonApplied), arm(ReasonGrace, HoldOff+grace)},
		},
		"a converged version waits for its retirement":                  {inState(events.RolloutConverged), grace + time.Minute, facts(nil), events.RolloutConverged, nil},
		"a convergence that somebody else published is armed as theirs": {with(inState(events.RolloutConverged), unasked), time.Hour, facts(nil), events.RolloutConverged, []Action{arm(ReasonGrace, grace)}},
		"a retirement that does not happen is asked for again": {
			inState(events.RolloutConverged), grace + RetireReminder, facts(nil), events.RolloutConverged, []Action{arm(ReasonOverdue, grace)},
		},
		"a rolling version is superseded by a newer one":             {inState(events.RolloutRolling), 0, but(facts(old), newer), events.RolloutSuperseded, []Action{publish(ReasonNewer)}},
		"a stalled version is superseded by a newer one":             {inState(events.RolloutStalled), 0, but(facts(old), newer), events.RolloutSuperseded, []Action{publish(ReasonNewer)}},
		"a converged version is superseded by a newer one":           {inState(events.RolloutConverged), 0, but(facts(nil), newer), events.RolloutSuperseded, []Action{publish(ReasonNewer)}},
		"a version that nobody heard of is superseded in silence":    {inState(""), 0, but(facts(old), newer), events.RolloutSuperseded, nil},
		"a retired version is not superseded":                        {inState(events.RolloutRetired), 0, but(facts(old), newer), events.RolloutRetired, nil},
		"a rolled back version stays where it is":                    {inState(events.RolloutRolledBack), time.Hour, facts(nil), events.RolloutRolledBack, nil},
		"nothing is proven of a secret that is not configured":       {inState(events.RolloutRolling), time.Minute, but(facts(nil), unknown), events.RolloutRolling, nil},
		"nothing is asked for a secret that is not configured":       {with(inState(events.RolloutConverged), unasked), time.Hour, but(facts(nil), unknown), events.RolloutConverged, nil},
		"a state of a later version of the program is let alone":     {inState("waving"), time.Hour, facts(nil), "waving", nil},
		"a version of an unconfigured secret does not begin to roll": {inState(""), 0, but(facts(nil), unknown), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := t0.Add(tt.after)
			next, do := Advance(now, tt.r, tt.f)
			if next.State != tt.state || !reflect.DeepEqual(do, tt.do) {
				t.Fatalf("got %s %+v, want %s %+v", next.State, do, tt.state, tt.do)
			}
			if next.State != tt.r.State && !next.Since.Equal(now) {
				t.Errorf("it entered %s at %s, want %s", next.State, next.Since, now)
			}
			if next.State != events.RolloutConverged && !next.RetireAt.IsZero() {
				t.Errorf("%s has a time of retirement: %s", next.State, next.RetireAt)
			}
		})
	}
}

func TestConvergenceSetsItsTimes(t *testing.T) {
	t.Parallel()
	now := t0.Add(time.Minute)
	r, _ := Advance(now, inState(events.RolloutRolling), Facts{Configured: true, Grace: grace})
	if !r.ConvergedAt.Equal(now) || !r.RetireAt.Equal(now.Add(grace)) || !r.Reminder.Equal(now.Add(grace+RetireReminder)) {
		t.Errorf("got %s, %s, %s", r.ConvergedAt, r.RetireAt, r.Reminder)
	}
	r, _ = Advance(now.Add(time.Second), r, Facts{Configured: true, Blocking: old})
	if r.ConvergedAt.IsZero() || !r.RetireAt.IsZero() || !r.Reminder.IsZero() {
		t.Errorf("after it fell back: %s, %s, %s", r.ConvergedAt, r.RetireAt, r.Reminder)
	}
}

func TestWake(t *testing.T) {
	t.Parallel()
	f := Facts{Configured: true, Deadline: time.Minute}
	for name, tt := range map[string]struct {
		r     Rollout
		after time.Duration
		want  time.Duration // less than 0 is never
	}{
		"a version that fell back wakes for the end of its hold first": {with(inState(events.RolloutRolling), fellBack), 0, HoldOff},
		"a rolling version wakes at its deadline":                      {inState(events.RolloutRolling), 0, time.Minute},
		"past its deadline it is looked at now and then":               {inState(events.RolloutRolling), time.Minute, time.Minute + Recheck},
		"a converged version wakes for its reminder":                   {inState(events.RolloutConverged), grace + RetireReminder - 1, grace + RetireReminder},
		"a retired version never wakes":                                {inState(events.RolloutRetired), 0, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := tt.r.Wake(t0.Add(tt.after), f)
			if want := t0.Add(tt.want); tt.want < 0 && !got.IsZero() || tt.want >= 0 && !got.Equal(want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
