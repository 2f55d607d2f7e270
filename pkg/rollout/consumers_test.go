package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// nightly adds a job to the subscribers, a run of which takes three hours at most.
func nightly(q *Question) {
	q.Spec.Services = append(q.Spec.Services, "nightly")
	q.Spec.Proof.Subscribers = map[string]secret.Subscriber{"nightly": {Kind: secret.KindJob, MaxRun: 3 * time.Hour}}
}

func consumer(after time.Duration) func(*Question) {
	return func(q *Question) { q.Spec.Proof.Consumers = []secret.Consumer{{Name: "erp", After: after}} }
}

func promoted(ago time.Duration) func(*Question) {
	return func(q *Question) { q.Promoted = t0.Add(-ago) }
}

func none(q *Question) { q.Spec.Services = nil }

func run(u *events.User)  { u.Use.Service, u.Use.PastFence = "nightly", events.PastFenceServe }
func inEU(u *events.User) { u.Presence.Fleet = "eu" }
func inUS(u *events.User) { u.Presence.Fleet = "us" }

// TestWhoHasNoLiveInstance has a question for each rule about users of a secret that
// need not be live, or have no client.
func TestWhoHasNoLiveInstance(t *testing.T) {
	t.Parallel()
	good := using("v2")
	for name, tt := range map[string]struct {
		users   []events.User
		change  []func(*Question)
		blocks  string
		answer  Answer
		because string
	}{
		"a run of a job that was never heard of may last":      {[]events.User{good}, []func(*Question){nightly}, "", AnswerNo, "a run of nightly may have read an older version"},
		"the longest run is over":                              {[]events.User{good}, []func(*Question){nightly, promoted(4 * time.Hour)}, "", AnswerYes, "if no run of nightly takes longer than 3h"},
		"a silent run of a job is waited for":                  {[]events.User{good, user(using("v1"), lately, run)}, []func(*Question){nightly}, "nightly/2 silent until", AnswerNo, "nightly/2 silent until"},
		"it counts from its last renewal":                      {[]events.User{good, user(using("v1"), lately, run)}, []func(*Question){nightly, promoted(4 * time.Hour)}, "nightly/2 silent until", AnswerNo, "until 2026-03-01T15:00:48Z"},
		"a silent run of a job has ended":                      {[]events.User{good, user(using("v1"), longAgo, run, func(u *events.User) { u.RenewedAt = t0.Add(-5 * time.Hour) })}, []func(*Question){nightly, promoted(4 * time.Hour)}, "", AnswerYes, "no run of nightly"},
		"a live run of a job blocks":                           {[]events.User{good, user(using("v1"), run)}, []func(*Question){nightly, promoted(4 * time.Hour)}, "nightly/1 runs_other_version", AnswerNo, "nightly/1"},
		"a run that is not understood blocks":                  {[]events.User{good, user(using("v1"), lastly, run, garble)}, []func(*Question){nightly}, "nightly/2 report_not_understood", AnswerNo, "nightly/2"},
		"a consumer is not confirmed":                          {[]events.User{good}, []func(*Question){consumer(0)}, "the consumer erp (not_confirmed): rotator confirm S --consumer erp --version v2", AnswerNo, "rotator confirm S --consumer erp --version v2"},
		"a consumer was confirmed to use the version before":   {[]events.User{good}, []func(*Question){consumer(0), func(q *Question) { q.Confirmed = map[string]events.Confirmed{"erp": {VersionID: "v1"}} }}, "the consumer erp (not_confirmed): rotator confirm S --consumer erp --version v2", AnswerNo, "erp"},
		"a consumer is confirmed":                              {[]events.User{good}, []func(*Question){consumer(0), func(q *Question) { q.Confirmed = map[string]events.Confirmed{"erp": {VersionID: "v2"}} }}, "", AnswerYes, "no instance uses"},
		"a consumer has time":                                  {[]events.User{good}, []func(*Question){consumer(3 * time.Hour)}, "the consumer erp (not_confirmed): rotator confirm S --consumer erp --version v2 until", AnswerNo, "until 2026-03-01T13:00:00Z"},
		"the time of a consumer is over":                       {[]events.User{good}, []func(*Question){consumer(2 * time.Hour)}, "", AnswerUnknown, "the consumer erp was not confirmed, and counts as moved 2h after the promotion"},
		"a secret has only a consumer":                         {nil, []func(*Question){none, consumer(0), func(q *Question) { q.Confirmed = map[string]events.Confirmed{"erp": {VersionID: "v2"}} }}, "", AnswerYes, "no instance uses"},
		"no user is known":                                     {nil, []func(*Question){none}, events.Blocker{Reason: events.BlockNoSubscriber}.String(), AnswerNo, "no_subscriber"},
		"no user is known, and the secret goes by time":        {nil, []func(*Question){none, func(q *Question) { q.Spec.Proof.NoSubscribers = secret.NoSubscribersRetire }}, "", AnswerUnknown, "no user of the secret is known"},
		"a user is known of a secret that would go by time":    {[]events.User{using("v1")}, []func(*Question){none, func(q *Question) { q.Spec.Proof.NoSubscribers = secret.NoSubscribersRetire }}, "api/1 runs_other_version", AnswerNo, "api/1"},
		"no user is listed, and one that reports it has moved": {[]events.User{good}, []func(*Question){none}, "", AnswerUnknown, "no user of the secret is listed"},
		"the same, and the secret would go by time":            {[]events.User{good}, []func(*Question){none, func(q *Question) { q.Spec.Proof.NoSubscribers = secret.NoSubscribersRetire }}, "", AnswerUnknown, "no user of the secret is listed"},
		"a fleet was never heard from":                         {[]events.User{user(good, inEU)}, []func(*Question){fleets}, "the fleet us (fleet_not_heard): it was never heard from", AnswerNo, "never heard"},
		"a fleet was heard from":                               {[]events.User{user(good, inEU), user(good, inUS)}, []func(*Question){fleets}, "", AnswerYes, "no instance uses"},
		"a fleet was not heard from within a lease":            {[]events.User{user(good, inEU), user(good, lately, inUS)}, []func(*Question){fleets}, "the fleet us (fleet_not_heard): it was not heard from since 2026-03-01T11:59:00Z", AnswerNo, "since 2026-03-01T11:59:00Z"},
		"a service that is not listed speaks for no fleet":     {[]events.User{user(good, inEU), user(good, inUS, foreign)}, []func(*Question){fleets}, "the fleet us (fleet_not_heard): it was never heard from", AnswerNo, "never heard"},
		"another system works on it":                           {[]events.User{good}, []func(*Question){func(q *Question) { q.Foreign = "another program wrote v2" }}, "", AnswerUnknown, "another program wrote v2"},
		"a job is not among those that serve before they join": {[]events.User{good, user(good, run)}, []func(*Question){nightly, promoted(4 * time.Hour)}, "", AnswerYes, "if no run of nightly takes longer than 3h"},
		"one service of two does not have to join": {[]events.User{user(good, serves), user(good, serves, foreign)}, []func(*Question){func(q *Question) {
			q.Spec.Services = append(q.Spec.Services, "other")
			api(q, secret.Subscriber{JoinRequired: true})
		}}, "", AnswerYes, "if no instance of other started"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, f := question(), fleetOf(tt.users...)
			for _, c := range tt.change {
				c(&q)
			}
			got := q.Safe(inState(events.RolloutDraining), f)
			if blocks := strings.Join(lines(q.Ask(f).Blocking), ", "); blocks != tt.blocks {
				t.Errorf("blocks %q, want %q", blocks, tt.blocks)
			}
			if got.Answer != tt.answer || !strings.Contains(got.Because, tt.because) {
				t.Errorf("got %+v, want %s because %q", got, tt.answer, tt.because)
			}
		})
	}
}

func fleets(q *Question) { q.Spec.Proof.Fleets = []string{"eu", "us"} }

// TestAJobHoldsItsVersionUntilItsLongestRun: an order to retire is refused until
// then, also if no run of it was heard of.
func TestAJobHoldsItsVersionUntilItsLongestRun(t *testing.T) {
	t.Parallel()
	order := inState(events.RolloutDraining).data(t0, Facts{})
	for ago, allowed := range map[time.Duration]bool{3*time.Hour + 107*time.Second: false, 3*time.Hour + 108*time.Second: true} {
		q := question()
		nightly(&q)
		promoted(ago)(&q)
		if v := q.MayRetire(order, order, fleetOf(using("v2"))); v.Allowed() != allowed {
			t.Errorf("%s after the promotion: %+v", ago, v)
		}
	}
}

func TestAnEmergencyNamesTheJobsAndConsumersThatItBreaks(t *testing.T) {
	t.Parallel()
	order := inState(events.RolloutDraining).data(t0, Facts{})
	order.Reason = events.ReasonEmergency
	q := question()
	nightly(&q)
	consumer(24 * time.Hour)(&q)
	v := q.MayRetire(order, order, fleetOf(using("v2")))
	if got := lines(v.Breaks); !v.Allowed() || !slices.Equal(got, []string{"the consumer erp (not_confirmed): rotator confirm S --consumer erp --version v2 until", "nightly silent until"}) {
		t.Errorf("allowed %t, breaks %q", v.Allowed(), got)
	}
	consumer(0)(&q)
	if q.MayRetire(order, order, fleetOf(using("v2"))).Allowed() {
		t.Error("it did not wait for a consumer that has to be confirmed")
	}
}

func TestAJobNeedNotHaveLoadedTheNextVersion(t *testing.T) {
	t.Parallel()
	q := question()
	q.Pending = "v3"
	nightly(&q)
	if got := q.Missing(fleetOf(user(using("v2"), stage3))); len(got) > 0 {
		t.Errorf("missing are %v", got)
	}
}

// TestALostStreamIsUnknown: a process of a service that is not listed may have been lost
// even where every subscriber is a job. A run of one may have read the old version right
// before the loss.
func TestALostStreamIsUnknown(t *testing.T) {
	t.Parallel()
	f := fleetOf()
	f.Since = t0.Add(-time.Hour)
	q := question()
	nightly(&q)
	q.Spec.Services = []string{"nightly"}
	floor := f.Since.Add(3*time.Hour + 108*time.Second)
	if s := q.Ask(f); s.Unknown == "" || !s.Floor.Equal(floor) {
		t.Errorf("unknown %q, floor %s, want %s", s.Unknown, s.Floor, floor)
	}
	f.Confirmed, f.ConfirmedBy = f.Since, "ada"
	if s := q.Ask(f); s.Unknown != "" || !s.Floor.Equal(floor) {
		t.Errorf("after a person confirmed it: unknown %q, floor %s, want %s", s.Unknown, s.Floor, floor)
	}
	f.ConfirmedBy = "" // the first stream
	if s := q.Ask(f); s.Unknown != "" || !s.Floor.Equal(q.Promoted.Add(3*time.Hour+108*time.Second)) {
		t.Errorf("unknown %q, floor %s", s.Unknown, s.Floor)
	}
}

func TestTheRecordsOfAJobAreForgottenAfterItsRun(t *testing.T) {
	t.Parallel()
	q := question()
	nightly(&q)
	u := user(using("v1"), run)
	end := u.RenewedAt.Add(3*time.Hour + 108*time.Second + keepEnded)
	if Forgettable(u, end.Add(-1), q.Spec) || !Forgettable(u, end, q.Spec) {
		t.Errorf("its records are not forgotten at %s", end)
	}
	if Forgettable(u, end, question().Spec) {
		t.Error("the records of a service that serves on are forgotten")
	}
}

func TestForeign(t *testing.T) {
	t.Parallel()
	external := events.Data{VersionID: "v2", PreviousVersionID: "v1", Reason: events.ReasonExternal}
	first, ours := external, external
	first.PreviousVersionID, ours.Reason = "", events.ReasonNearExpiry
	for name, tt := range map[string]struct {
		spec      secret.Spec
		announced events.Data
		untrusted bool
		want      string
	}{
		"a version of ours":                       {secret.Spec{}, ours, false, ""},
		"the first version":                       {secret.Spec{}, first, false, ""},
		"a version of another program":            {secret.Spec{}, external, false, "another program wrote version v2"},
		"a version of the store's own rotation":   {secret.Spec{Strategy: secret.StrategyExternal}, external, false, ""},
		"an event under a key that is not ours":   {secret.Spec{}, ours, true, "another scheduler"},
		"nothing was announced, and all is quiet": {secret.Spec{}, events.Data{}, false, ""},
	} {
		if got := Foreign(tt.spec, tt.announced, tt.untrusted); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestWait(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change []func(*Question)
		users  []events.User
		want   time.Duration
	}{
		"the floor":                    {nil, nil, fence + 12*time.Second},
		"the grace period":             {[]func(*Question){func(q *Question) { q.Spec.Grace = time.Hour }}, nil, time.Hour},
		"a lease":                      {[]func(*Question){func(q *Question) { q.Spec.Fence = time.Second }}, []events.User{user(using("v2"), func(u *events.User) { u.Presence.Lease, u.Use.Fence = 1200, 0 })}, 20 * time.Minute},
		"the fence of a user":          {nil, []events.User{user(using("v2"), func(u *events.User) { u.Use.Fence = 3600 })}, time.Hour + 36*time.Second},
		"the longest run of a job":     {[]func(*Question){nightly}, nil, 3*time.Hour + 108*time.Second},
		"the time that a consumer has": {[]func(*Question){consumer(14 * 24 * time.Hour)}, nil, 14 * 24 * time.Hour},
	} {
		q := question()
		for _, c := range tt.change {
			c(&q)
		}
		if got := q.Wait(fleetOf(tt.users...)); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}
