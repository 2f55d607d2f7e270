package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const fence = 20 * time.Minute

// using returns a live user of service api that refuses past its fence, and runs a
// version. Its presence was stored at t0 and its lease is a minute.
func using(v secret.VersionID) events.User {
	return events.User{
		Use: events.Use{
			Running: events.Running{SecretID: "S", VersionID: v, Status: events.StatusApplied}, Service: "api", Instance: "1", Incarnation: "x",
			Accepts: []secret.VersionID{}, PastFence: events.PastFenceRefuse, Fence: int(fence / time.Second), Joined: true,
		},
		Presence: events.Presence{Service: "api", Instance: "1", Incarnation: "x", Lease: 60}, UsedAt: t0, RenewedAt: t0,
	}
}

func user(u events.User, change ...func(*events.User)) events.User {
	for _, c := range change {
		c(&u)
	}
	return u
}

func serves(u *events.User)  { u.Use.PastFence = events.PastFenceServe }
func accepts(u *events.User) { u.Use.Accepts = []secret.VersionID{"v1"} }
func endedU(u *events.User)  { u.Presence.Ended = true }
func anyV(u *events.User)    { u.Use.Accepts = nil }
func lastly(u *events.User) {
	u.RenewedAt, u.UsedAt, u.Use.Instance = t0.Add(-time.Hour), t0.Add(-time.Hour), "2"
}
func longAgo(u *events.User) {
	u.RenewedAt, u.UsedAt, u.Use.Instance = t0.Add(-3*time.Hour), t0.Add(-3*time.Hour), "2"
}
func lately(u *events.User) {
	u.RenewedAt, u.UsedAt, u.Use.Instance = t0.Add(-time.Minute), t0.Add(-time.Minute), "2"
}
func failing(u *events.User) { u.Use.Status, u.Use.Wanted = events.StatusFailed, "v2" }
func stage3(u *events.User)  { u.Use.Status, u.Use.Wanted = events.StatusStaged, "v3" }
func garble(u *events.User)  { u.Problem = "torn" }
func foreign(u *events.User) { u.Use.Service = "other" }

// question asks whether v2, promoted two hours before t0, may replace all before.
func question() Question {
	return Question{
		Spec: secret.Spec{ID: "S", Store: "x", Fence: fence, Services: []string{"api"}}, VersionID: "v2", Unstaged: true,
		Promoted: t0.Add(-2 * time.Hour),
	}
}

// api says more of the service api.
func api(q *Question, s secret.Subscriber) {
	q.Spec.Proof.Subscribers = map[string]secret.Subscriber{"api": s}
}

func fleetOf(users ...events.User) events.Fleet {
	return events.Fleet{SecretID: "S", Users: users, Seq: 7, At: t0, Since: t0.Add(-24 * time.Hour), Confirmed: t0.Add(-24 * time.Hour)}
}

func TestStateOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		u    events.User
		at   time.Duration
		want InstanceState
	}{
		"renewed within its lease":             {using("v1"), time.Minute - 1, InstanceLive},
		"not renewed":                          {using("v1"), time.Minute, InstanceSilent},
		"without a presence":                   {user(using("v1"), func(u *events.User) { u.RenewedAt = time.Time{} }), 0, InstanceSilent},
		"that said that it has ended":          {user(using("v1"), endedU), time.Hour, InstanceEnded},
		"not understood":                       {user(using("v1"), garble), 0, InstanceSilent},
		"with a lease of years":                {user(using("v1"), func(u *events.User) { u.Presence.Lease = 1 << 30 }), maxLease, InstanceSilent},
		"with a lease that is not one":         {user(using("v1"), func(u *events.User) { u.Presence.Lease = -1 }), 0, InstanceSilent},
		"not understood, even if it has ended": {user(using("v1"), endedU, garble), 0, InstanceSilent},
	} {
		if got := StateOf(tt.u, t0.Add(tt.at)); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

func TestFenceEnd(t *testing.T) {
	t.Parallel()
	end := func(d time.Duration) time.Time { return t0.Add(d + d/100) }
	for name, tt := range map[string]struct {
		u        events.User
		promoted time.Duration
		f        time.Duration
		want     time.Time
	}{
		"from the last renewal":             {using("v1"), -time.Hour, time.Minute, end(fence)},
		"from the promotion if it is later": {using("v1"), time.Hour, time.Minute, end(fence).Add(time.Hour)},
		"the longer fence counts":           {using("v1"), 0, time.Hour, end(time.Hour)},
		"a user that serves on has none":    {user(using("v1"), serves), 0, fence, time.Time{}},
		"an older client has none":          {user(using("v1"), func(u *events.User) { u.Use.PastFence = "" }), 0, fence, time.Time{}},
		"what is not understood has none":   {user(using("v1"), garble), 0, fence, time.Time{}},
	} {
		if got, ok := FenceEnd(tt.u, t0.Add(tt.promoted), tt.f); !got.Equal(tt.want) || ok == tt.want.IsZero() {
			t.Errorf("%s: got %s %t, want %s", name, got, ok, tt.want)
		}
	}
}

func TestWhatAFleetSays(t *testing.T) {
	t.Parallel()
	good := using("v2")
	for name, tt := range map[string]struct {
		users []events.User
		want  string // of the blockers, and what is accepted after a slash
	}{
		"every instance runs the version":                               {[]events.User{good}, ""},
		"one runs another":                                              {[]events.User{good, user(using("v1"), func(u *events.User) { u.Use.Instance = "2" })}, "api/2 runs_other_version"},
		"one is joining":                                                {[]events.User{good, user(using(""), func(u *events.User) { u.Use.Instance = "2" })}, "api/2 runs_other_version"},
		"one is joining and has no status yet":                          {[]events.User{good, user(using(""), func(u *events.User) { u.Use.Instance, u.Use.Status = "2", "" })}, "api/2 runs_other_version"},
		"one runs a version with a status that is not known":            {[]events.User{good, user(good, func(u *events.User) { u.Use.Instance, u.Use.Status = "2", "dancing" })}, "api/2 report_not_understood"},
		"one failed":                                                    {[]events.User{user(using("v1"), failing)}, "api/1 failed"},
		"one accepts an older version":                                  {[]events.User{user(good, accepts)}, " / api/1 accepts_old_version"},
		"one does not say what it accepts":                              {[]events.User{user(good, anyV)}, " / api/1 accepts_old_version"},
		"one has staged the next":                                       {[]events.User{user(good, stage3)}, ""},
		"a silent one runs an older version":                            {[]events.User{good, user(using("v1"), lately)}, "api/2 silent until"},
		"its fence has ended":                                           {[]events.User{good, user(using("v1"), lastly)}, ""},
		"a silent one runs the version":                                 {[]events.User{good, user(good, lastly)}, ""},
		"a silent one runs the version and serves on":                   {[]events.User{good, user(good, lastly, serves)}, ""},
		"a silent one accepts an older version":                         {[]events.User{good, user(good, lastly, serves, accepts)}, "api/2 silent"},
		"a silent one does not say what it accepts":                     {[]events.User{good, user(good, lastly, serves, anyV)}, "api/2 silent"},
		"a silent one has staged the next":                              {[]events.User{good, user(good, lastly, serves, stage3)}, ""},
		"a silent one runs the version since before it was promoted":    {[]events.User{good, user(good, longAgo, serves)}, "api/2 silent"},
		"a silent one runs it since before, and its fence has ended":    {[]events.User{good, user(good, longAgo)}, ""},
		"a silent one failed to take the version":                       {[]events.User{good, user(using("v1"), lastly, serves, failing)}, "api/2 silent"},
		"a silent one is joining":                                       {[]events.User{good, user(using(""), lastly, serves)}, "api/2 silent"},
		"a silent one serves on":                                        {[]events.User{good, user(using("v1"), lastly, serves)}, "api/2 silent"},
		"it has ended":                                                  {[]events.User{good, user(using("v1"), lastly, serves, endedU)}, ""},
		"one is not understood":                                         {[]events.User{good, user(good, lately, garble)}, "api/2 report_not_understood"},
		"one is of a service that is not subscribed":                    {[]events.User{good, user(using("v1"), foreign)}, "other/1 unlisted"},
		"a subscriber is not heard of":                                  {nil, "api no_live_instance"},
		"a subscriber has only ended instances":                         {[]events.User{user(good, endedU)}, "api no_live_instance"},
		"a subscriber has only silent instances that block nothing":     {[]events.User{user(good, lastly)}, "api no_live_instance"},
		"a subscriber has only silent instances, and they block enough": {[]events.User{user(using("v1"), lately)}, "api/2 silent until"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := question()
			q.Pending = "v3"
			s := q.Ask(fleetOf(tt.users...))
			got := strings.Join(lines(s.Blocking), ", ")
			if len(s.Accepting) > 0 {
				got += " / " + strings.Join(lines(s.Accepting), ", ")
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			slices.Reverse(tt.users)
			if again := q.Ask(fleetOf(tt.users...)); !slices.Equal(again.Blocking, s.Blocking) {
				t.Errorf("in another order: %v, want %v", again.Blocking, s.Blocking)
			}
		})
	}
}

func lines(all []events.Blocker) (out []string) {
	for _, b := range all {
		line := b.String()
		if !b.Until.IsZero() {
			line += " until"
		}
		out = append(out, line)
	}
	return out
}

func TestMayRetire(t *testing.T) {
	t.Parallel()
	draining := inState(events.RolloutDraining).data(t0, Facts{})
	for name, tt := range map[string]struct {
		change func(order, logged *events.Data, q *Question, f *events.Fleet)
		want   string // a part of what keeps it, "" for nothing
	}{
		"a rollout that has drained": {func(*events.Data, *events.Data, *Question, *events.Fleet) {}, ""},
		"another version is current": {func(_, _ *events.Data, q *Question, _ *events.Fleet) { q.VersionID = "v3" }, "v3 is current"},
		"the log was lost":           {func(_, l *events.Data, _ *Question, _ *events.Fleet) { l.Rollout = nil }, "no rollout"},
		"it is that of another":      {func(_, l *events.Data, _ *Question, _ *events.Fleet) { l.VersionID = "v1" }, "version v1"},
		"it was announced again":     {func(_, l *events.Data, _ *Question, _ *events.Fleet) { l.Rollout.StartedAt = t0 }, "announced again"},
		"it has converged only":      {func(_, l *events.Data, _ *Question, _ *events.Fleet) { l.Rollout.State = events.RolloutConverged }, "is converged"},
		"it has no time":             {func(_, l *events.Data, _ *Question, _ *events.Fleet) { l.Rollout.RetireAt = time.Time{} }, "no time"},
		"its time has not come":      {func(_, l *events.Data, _ *Question, _ *events.Fleet) { l.Rollout.RetireAt = t0.Add(time.Minute) }, "another 59s"},
		"the older ones have stages": {func(_, _ *events.Data, q *Question, _ *events.Fleet) { q.Unstaged = false }, "take it away"},
		"the floor is not over":      {func(_, _ *events.Data, q *Question, _ *events.Fleet) { q.Promoted = t0.Add(-fence) }, "another 12s"},
		"a user has a longer fence": {func(_, _ *events.Data, q *Question, f *events.Fleet) {
			q.Promoted, f.Users[0].Use.Fence = t0.Add(-time.Hour), 3600
		}, "another 36s"},
		"an emergency does not wait for it": {func(o, l *events.Data, q *Question, _ *events.Fleet) {
			o.Reason, l.Reason, q.Promoted = events.ReasonEmergency, events.ReasonEmergency, t0.Add(-fence)
		}, ""},
		"an order that calls itself one does": {func(o, _ *events.Data, q *Question, _ *events.Fleet) {
			o.Reason, q.Promoted = events.ReasonEmergency, t0.Add(-fence)
		}, "another 12s"},
		"an old version is accepted": {func(_, _ *events.Data, _ *Question, f *events.Fleet) {
			f.Users[0].Use.Accepts = []secret.VersionID{"v1"}
		}, "accepts_old_version"},
		"a fence runs": {func(_, _ *events.Data, _ *Question, f *events.Fleet) {
			f.Users = append(f.Users, user(using("v1"), lately))
		}, "api/2 silent until"},
		"the stream is full":            {func(_, _ *events.Data, _ *Question, f *events.Fleet) { f.Full = true }, "full"},
		"the stream of reports is full": {func(_, _ *events.Data, _ *Question, f *events.Fleet) { f.FullBy = "greedy" }, "greedy"},
		"the stream was lost, and what served on with it": {func(_, _ *events.Data, _ *Question, f *events.Fleet) {
			f.Since, f.Users[0].Use.PastFence = t0.Add(-time.Hour), events.PastFenceServe
		}, "may have been lost"},
		"a person has confirmed that": {func(_, _ *events.Data, _ *Question, f *events.Fleet) {
			f.Since, f.Confirmed, f.ConfirmedBy = t0.Add(-time.Hour), t0.Add(-time.Hour), "ada"
		}, ""},
		"a person has confirmed that less than a fence after the loss": {func(_, _ *events.Data, _ *Question, f *events.Fleet) {
			f.Since, f.Confirmed, f.ConfirmedBy = t0.Add(-fence), t0.Add(-fence), "ada"
		}, "another 12s"},
		"the stream was lost, and all that are left refuse": {func(_, _ *events.Data, _ *Question, f *events.Fleet) { f.Since = t0.Add(-time.Hour) }, "may have been lost"},
		"the stream was lost less than a fence ago":         {func(_, _ *events.Data, _ *Question, f *events.Fleet) { f.Since = t0.Add(-fence) }, "another 12s"},
		"nothing says whether a stream was lost": {func(_, _ *events.Data, _ *Question, f *events.Fleet) {
			f.Confirmed, f.Users[0].Use.PastFence = time.Time{}, events.PastFenceServe
		}, "nothing says"},
		"nothing says whether a stream was lost, and all that are left refuse": {func(_, _ *events.Data, _ *Question, f *events.Fleet) { f.Confirmed = time.Time{} }, "nothing says"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			order, logged, q, f := draining, draining, question(), fleetOf(using("v2"))
			ro := *draining.Rollout
			logged.Rollout = &ro
			tt.change(&order, &logged, &q, &f)
			v := q.MayRetire(order, logged, f)
			if v.Allowed() != (tt.want == "") || !strings.Contains(v.Because, tt.want) {
				t.Errorf("got %+v, want %q", v, tt.want)
			}
		})
	}
}

func TestAnOrderThatWasCarriedOutIsDone(t *testing.T) {
	t.Parallel()
	order := inState(events.RolloutDraining).data(t0, Facts{})
	logged := Retired("/worker", t0, order, 1).Data
	if v := question().MayRetire(order, logged, fleetOf()); !v.Done || v.Allowed() || v.Because != "" {
		t.Errorf("got %+v", v)
	}
}

func TestAnEmergencyNamesWhomItBreaks(t *testing.T) {
	t.Parallel()
	order := inState(events.RolloutDraining).data(t0, Facts{})
	order.Reason = events.ReasonEmergency
	v := question().MayRetire(order, order, fleetOf(using("v2"), user(using("v1"), lately)))
	if !v.Allowed() || len(v.Breaks) != 1 || v.Breaks[0].Instance != "2" {
		t.Errorf("got %+v", v)
	}
	v = question().MayRetire(order, order, fleetOf(using("v2"), user(using("v1"), lately, serves)))
	if v.Allowed() {
		t.Error("it retired what a silent instance serves on with")
	}
}

func TestSafe(t *testing.T) {
	t.Parallel()
	good := using("v2")
	for name, tt := range map[string]struct {
		users   []events.User
		change  func(*Question, *events.Fleet)
		answer  Answer
		because string
	}{
		"all refuse and run the version":           {[]events.User{good}, func(*Question, *events.Fleet) {}, AnswerYes, "no instance uses or accepts"},
		"one serves on":                            {[]events.User{user(good, serves)}, func(*Question, *events.Fleet) {}, AnswerYes, "if no instance of api started"},
		"one serves on and has to join":            {[]events.User{user(good, serves)}, func(q *Question, _ *events.Fleet) { api(q, secret.Subscriber{JoinRequired: true}) }, AnswerYes, "no instance uses"},
		"one runs another version":                 {[]events.User{using("v1")}, func(*Question, *events.Fleet) {}, AnswerNo, "api/1 runs_other_version"},
		"a fence runs":                             {[]events.User{good, user(using("v1"), lately)}, func(*Question, *events.Fleet) {}, AnswerNo, "until 2026-03-01T12:19:12Z"},
		"the floor is not over":                    {[]events.User{good}, func(q *Question, _ *events.Fleet) { q.Promoted = t0 }, AnswerNo, "2026-03-01T12:20:12Z"},
		"an end is presumed":                       {[]events.User{good, user(using("v1"), lastly, serves)}, func(q *Question, _ *events.Fleet) { api(q, secret.Subscriber{PresumedEndedAfter: time.Hour}) }, AnswerUnknown, "presumed, first api/2"},
		"the time to presume an end is not over":   {[]events.User{good, user(using("v1"), lastly, serves)}, func(q *Question, _ *events.Fleet) { api(q, secret.Subscriber{PresumedEndedAfter: 2 * time.Hour}) }, AnswerNo, "api/2 silent"},
		"the stream was lost with what served on":  {[]events.User{user(good, serves)}, func(_ *Question, f *events.Fleet) { f.Since = t0 }, AnswerUnknown, "may have been lost"},
		"the stream is full, and nothing is known": {[]events.User{using("v1")}, func(_ *Question, f *events.Fleet) { f.Full = true }, AnswerUnknown, "full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q, f := question(), fleetOf(tt.users...)
			tt.change(&q, &f)
			got := q.Safe(inState(events.RolloutDraining), f)
			if got.Answer != tt.answer || !strings.Contains(got.Because, tt.because) {
				t.Errorf("got %+v, want %s because %q", got, tt.answer, tt.because)
			}
		})
	}
}
