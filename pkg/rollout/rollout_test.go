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

	unconfirmed = []events.Blocker{{Service: "erp", Reason: events.BlockUnconfirmed}}
	old         = []events.Blocker{{Service: "api", Instance: "1", VersionID: "v1", Reason: events.BlockOldVersion}}
	silent      = []events.Blocker{{Service: "api", Reason: events.BlockNoInstance}}
	fenced      = []events.Blocker{{Service: "api", Instance: "1", VersionID: "v1", Reason: events.BlockSilent, Until: t0.Add(time.Hour)}}
	accept      = []events.Blocker{{Service: "api", Instance: "1", VersionID: "v1", Reason: events.BlockAccepts}}
)

// inState returns a rollout from v1 to v2 that entered a state at t0.
func inState(s events.RolloutState) Rollout {
	r := Begin(events.Data{SecretID: "S", VersionID: "v2", PreviousVersionID: "v1", OccurredAt: t0.Add(-time.Minute)})
	r.State = s
	if s != "" {
		r.Since = t0
	}
	if s == events.RolloutConverged {
		r.ConvergedAt, r.RetireAt = t0, t0.Add(grace)
	}
	if s == events.RolloutDraining {
		r.ConvergedAt, r.RetireAt, r.Reminder = t0.Add(-grace), t0, t0.Add(DrainReminder)
	}
	return r
}

func with(r Rollout, change func(*Rollout)) Rollout {
	change(&r)
	return r
}

func first(r *Rollout)    { r.PreviousVersionID = "" }
func ordered(r *Rollout)  { r.Ordered, r.Reminder = true, t0.Add(RetireReminder) }
func drained(r *Rollout)  { r.RetireAt = t0.Add(-time.Minute) }
func urgent(r *Rollout)   { r.Cause = events.ReasonEmergency }
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
	arm := func(why Reason) Action { return Action{Kind: ActionArmRetire, Reason: why, At: t0} }
	refresh := Action{Kind: ActionRefresh, Reason: ReasonNotFresh}
	disarm := Action{Kind: ActionDisarmRetire, Reason: ReasonFellBack}
	drain := func(why Reason) Action { return Action{Kind: ActionNotifyDraining, Reason: why} }
	accepting := func(f *Facts) { f.Accepting = accept }
	floor := func(f *Facts) { f.Floor = t0.Add(time.Hour) }

	for name, tt := range map[string]struct {
		r     Rollout
		after time.Duration
		f     Facts
		state events.RolloutState
		do    []Action
	}{
		"an announced version begins to roll":                       {inState(""), 0, facts(old), events.RolloutRolling, []Action{publish(ReasonAnnounced)}},
		"a version that is used already begins to roll first":       {inState(""), 0, facts(nil), events.RolloutRolling, []Action{publish(ReasonAnnounced)}},
		"a rolling version waits for who runs another":              {inState(events.RolloutRolling), deadline - 1, facts(old), events.RolloutRolling, nil},
		"a rolling version converges when nothing blocks":           {inState(events.RolloutRolling), time.Minute, facts(nil), events.RolloutConverged, []Action{publish(ReasonApplied)}},
		"a rolling version waits while only fences run":             {inState(events.RolloutRolling), time.Minute, facts(fenced), events.RolloutWaiting, []Action{publish(ReasonFences)}},
		"and does not stall at the deadline":                        {inState(events.RolloutRolling), deadline, facts(fenced), events.RolloutWaiting, []Action{publish(ReasonFences)}},
		"a fence beside what else blocks makes no difference":       {inState(events.RolloutRolling), deadline, facts(append(fenced, old...)), events.RolloutStalled, []Action{publish(ReasonDeadline)}},
		"a waiting version never stalls":                            {inState(events.RolloutWaiting), 100 * time.Hour, facts(fenced), events.RolloutWaiting, nil},
		"a waiting version rolls again when something else blocks":  {inState(events.RolloutWaiting), 100 * time.Hour, facts(old), events.RolloutRolling, []Action{publish(ReasonBlocked)}},
		"a waiting version converges when the fences have ended":    {inState(events.RolloutWaiting), time.Hour, facts(nil), events.RolloutConverged, []Action{publish(ReasonApplied)}},
		"a waiting version is superseded":                           {inState(events.RolloutWaiting), 0, but(facts(fenced), newer), events.RolloutSuperseded, []Action{publish(ReasonNewer)}},
		"a stalled version waits when only fences are left":         {inState(events.RolloutStalled), time.Hour, facts(fenced), events.RolloutWaiting, []Action{publish(ReasonFences)}},
		"a converged version drains after the grace period":         {inState(events.RolloutConverged), grace, facts(nil), events.RolloutDraining, []Action{publish(ReasonGraceOver), drain(ReasonGraceOver)}},
		"a draining version is retired when it has drained":         {inState(events.RolloutDraining), time.Second, facts(nil), events.RolloutDraining, []Action{arm(ReasonDrained)}},
		"the retirement is ordered once":                            {with(inState(events.RolloutDraining), ordered), time.Minute, facts(nil), events.RolloutDraining, nil},
		"a retirement that does not happen is ordered again":        {with(inState(events.RolloutDraining), ordered), RetireReminder, facts(nil), events.RolloutDraining, []Action{arm(ReasonOverdue)}},
		"a draining version waits for what is accepted":             {inState(events.RolloutDraining), time.Second, but(facts(nil), accepting), events.RolloutDraining, nil},
		"services are told to drain again":                          {inState(events.RolloutDraining), DrainReminder, but(facts(nil), accepting), events.RolloutDraining, []Action{drain(ReasonAccepted)}},
		"an order is taken back when an old version is accepted":    {with(inState(events.RolloutDraining), ordered), 1, but(facts(nil), accepting), events.RolloutDraining, []Action{{Kind: ActionDisarmRetire, Reason: ReasonAccepted}, drain(ReasonAccepted)}},
		"a draining version falls back when something blocks":       {inState(events.RolloutDraining), 1, facts(old), events.RolloutRolling, []Action{publish(ReasonFellBack), disarm}},
		"a fence blocks a draining version":                         {inState(events.RolloutDraining), 1, facts(fenced), events.RolloutRolling, []Action{publish(ReasonFellBack), disarm}},
		"a version that does not drain stalls":                      {inState(events.RolloutDraining), deadline, but(facts(nil), accepting), events.RolloutStalled, []Action{publish(ReasonDeadline)}},
		"on fresh reports only":                                     {inState(events.RolloutDraining), deadline, but(but(facts(nil), accepting), stale), events.RolloutDraining, []Action{refresh}},
		"and stays stalled until it has drained":                    {with(inState(events.RolloutStalled), drained), time.Hour, but(facts(nil), accepting), events.RolloutStalled, nil},
		"and drains on then":                                        {with(inState(events.RolloutStalled), drained), time.Hour, facts(nil), events.RolloutDraining, []Action{publish(ReasonDrained)}},
		"or falls back":                                             {with(inState(events.RolloutStalled), drained), time.Hour, facts(old), events.RolloutRolling, []Action{publish(ReasonFellBack), disarm}},
		"or drains on without a deadline":                           {with(inState(events.RolloutStalled), drained), time.Hour, but(but(facts(nil), accepting), endless), events.RolloutDraining, []Action{publish(ReasonNoDeadline)}},
		"a draining version is superseded":                          {inState(events.RolloutDraining), 0, but(facts(nil), newer), events.RolloutSuperseded, []Action{publish(ReasonNewer)}},
		"convergence waits for the floor and says so":               {inState(events.RolloutRolling), 0, but(facts(nil), floor), events.RolloutConverged, []Action{publish(ReasonApplied)}},
		"a first version converges and nothing is retired":          {with(inState(events.RolloutRolling), first), 0, facts(nil), events.RolloutConverged, []Action{publish(ReasonApplied)}},
		"a first version that has converged has come to its end":    {with(inState(events.RolloutConverged), first), time.Hour, facts(old), events.RolloutConverged, nil},
		"a first version without a user waits":                      {with(inState(events.RolloutRolling), first), time.Hour, facts(nobody), events.RolloutWaiting, []Action{publish(ReasonFences)}},
		"a consumer that is not confirmed never pages":              {inState(events.RolloutWaiting), deadline, facts(unconfirmed), events.RolloutWaiting, nil},
		"a first version stalls when its subscriber is silent":      {with(inState(events.RolloutRolling), first), deadline, facts(silent), events.RolloutStalled, []Action{publish(ReasonDeadline)}},
		"a version without a user never pages":                      {inState(events.RolloutWaiting), deadline, facts(nobody), events.RolloutWaiting, nil},
		"silence is never convergence":                              {inState(events.RolloutRolling), time.Minute, facts(silent), events.RolloutRolling, nil},
		"a rolling version stalls at the deadline":                  {inState(events.RolloutRolling), deadline, facts(old), events.RolloutStalled, []Action{publish(ReasonDeadline)}},
		"a stall is declared on fresh reports only":                 {inState(events.RolloutRolling), deadline, but(facts(old), stale), events.RolloutRolling, []Action{refresh}},
		"without a deadline nothing stalls":                         {inState(events.RolloutRolling), 1000 * time.Hour, but(facts(old), endless), events.RolloutRolling, nil},
		"convergence at the deadline is no stall":                   {inState(events.RolloutRolling), deadline, facts(nil), events.RolloutConverged, []Action{publish(ReasonApplied)}},
		"a stalled version stays stalled while an instance blocks":  {inState(events.RolloutStalled), time.Hour, facts(old), events.RolloutStalled, nil},
		"a stalled version has its reports read again now and then": {inState(events.RolloutStalled), time.Hour, but(facts(old), stale), events.RolloutStalled, []Action{refresh}},
		"a stalled version converges when nothing blocks any more":  {inState(events.RolloutStalled), time.Hour, facts(nil), events.RolloutConverged, []Action{publish(ReasonApplied)}},
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
			[]Action{publish(ReasonApplied)},
		},
		"a converged version waits for its retirement":               {inState(events.RolloutConverged), grace - 1, facts(nil), events.RolloutConverged, nil},
		"a rolling version is superseded by a newer one":             {inState(events.RolloutRolling), 0, but(facts(old), newer), events.RolloutSuperseded, []Action{publish(ReasonNewer)}},
		"a stalled version is superseded by a newer one":             {inState(events.RolloutStalled), 0, but(facts(old), newer), events.RolloutSuperseded, []Action{publish(ReasonNewer)}},
		"a converged version is superseded by a newer one":           {inState(events.RolloutConverged), 0, but(facts(nil), newer), events.RolloutSuperseded, []Action{publish(ReasonNewer)}},
		"a version that was never published is superseded silently":  {inState(""), 0, but(facts(old), newer), events.RolloutSuperseded, nil},
		"a retired version is not superseded":                        {inState(events.RolloutRetired), 0, but(facts(old), newer), events.RolloutRetired, nil},
		"a rolled back version stays where it is":                    {inState(events.RolloutRolledBack), time.Hour, facts(nil), events.RolloutRolledBack, nil},
		"nothing is proven of a secret that is not configured":       {inState(events.RolloutRolling), time.Minute, but(facts(nil), unknown), events.RolloutRolling, nil},
		"nothing is asked for a secret that is not configured":       {inState(events.RolloutConverged), time.Hour, but(facts(nil), unknown), events.RolloutConverged, nil},
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
			if (next.State == events.RolloutRolling || next.State == events.RolloutWaiting || next.State == events.RolloutSuperseded) && !next.RetireAt.IsZero() {
				t.Errorf("%s has a time of retirement: %s", next.State, next.RetireAt)
			}
		})
	}
}

func TestConvergenceSetsItsTimes(t *testing.T) {
	t.Parallel()
	now := t0.Add(time.Minute)
	for name, tt := range map[string]struct {
		r    Rollout
		f    Facts
		want time.Time
	}{
		"the grace period":                   {inState(events.RolloutRolling), Facts{Grace: grace, Lease: time.Minute}, now.Add(grace)},
		"a lease that is longer":             {inState(events.RolloutRolling), Facts{Grace: grace, Lease: time.Hour}, now.Add(time.Hour)},
		"a floor that is later":              {inState(events.RolloutRolling), Facts{Grace: grace, Floor: t0.Add(time.Hour)}, t0.Add(time.Hour)},
		"an emergency skips the floor":       {with(inState(events.RolloutRolling), urgent), Facts{Grace: grace, Floor: t0.Add(time.Hour)}, now},
		"an emergency skips grace and lease": {with(inState(events.RolloutRolling), urgent), Facts{Grace: grace, Lease: time.Hour}, now},
		"the last convergence":               {with(inState(events.RolloutRolling), fellBack), Facts{Grace: grace}, now.Add(grace)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.f.Configured = true
			r, _ := Advance(now, tt.r, tt.f)
			if !r.ConvergedAt.Equal(now) || !r.RetireAt.Equal(tt.want) {
				t.Errorf("got %s, %s, want %s", r.ConvergedAt, r.RetireAt, tt.want)
			}
			tt.f.Blocking = old
			r, _ = Advance(now.Add(time.Second), r, tt.f)
			if r.ConvergedAt.IsZero() || !r.RetireAt.IsZero() || !r.Reminder.IsZero() || r.Ordered {
				t.Errorf("after it fell back: %+v", r)
			}
		})
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
		"a converged version wakes to drain":                           {inState(events.RolloutConverged), time.Second, time.Minute},
		"at the latest when the grace period is over":                  {inState(events.RolloutConverged), grace - 1, grace},
		"a draining version wakes for its reminder":                    {inState(events.RolloutDraining), 1, DrainReminder},
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

// TestDeadlineOutlivesSupersededRollouts: a service that lags behind stalls the rollout
// although each version is replaced before its deadline.
func TestDeadlineOutlivesSupersededRollouts(t *testing.T) {
	t.Parallel()
	facts := Facts{Configured: true, Deadline: deadline, Blocking: old, Fresh: true}
	newer := facts
	newer.Newer = true
	now := t0
	r := Begin(events.Data{SecretID: "S", VersionID: "v0", PreviousVersionID: "v", OccurredAt: now})
	next := func(f Facts) Rollout {
		t.Helper()
		r, _ = Advance(now, r, f)
		return r
	}
	replace := func() {
		t.Helper()
		if ended := next(newer); ended.State != events.RolloutSuperseded {
			t.Fatalf("it is %s", ended.State)
		}
		r = Resume(r.Event("/test", newer).Data) // another process goes on
		r = r.After(events.Data{SecretID: "S", VersionID: "v1", PreviousVersionID: "v0", OccurredAt: now})
		next(facts)
	}
	next(facts)
	for range 4 { // each is there for a quarter of the deadline
		if stalled := next(facts); stalled.State != events.RolloutRolling {
			t.Fatalf("at %s it is %s", now.Sub(t0), stalled.State)
		}
		now = now.Add(deadline / 4)
		replace()
	}
	if got := next(facts); got.State != events.RolloutStalled {
		t.Errorf("after the deadline it is %s", got.State)
	}
	replace()
	if got := next(facts); got.State != events.RolloutStalled {
		t.Errorf("the next version is %s, though nothing has changed", got.State)
	}
	caughtUp := facts
	caughtUp.Blocking = nil
	if got := next(caughtUp); got.State != events.RolloutConverged || !got.BehindSince.IsZero() {
		t.Errorf("once every instance runs it, it is %s, behind since %s", got.State, got.BehindSince)
	}
	replace()
	if got := next(facts); got.State != events.RolloutRolling {
		t.Errorf("the version after that is %s at once", got.State)
	}
}
