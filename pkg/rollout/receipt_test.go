package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// proof returns the proof that v1 may be retired, if the users allow it.
func proof(users ...events.User) Proof {
	d := events.Data{SecretID: "S", Store: "x", VersionID: "v2", PreviousVersionID: "v1", Reason: events.ReasonManual, RotationID: "token", Rollout: &events.Rollout{
		State: events.RolloutDraining, StartedAt: t0.Add(-2 * time.Hour), ConvergedAt: t0.Add(-time.Hour), RetireAt: t0.Add(-time.Minute),
	}}
	return Proof{Question: question(), Order: d, Logged: d, Fleet: fleetOf(users...), Retired: []secret.VersionID{"v1"}}
}

// stored returns a receipt as its reader has it.
func stored(tb interface{ Fatal(...any) }, r events.Receipt) (out events.Receipt) {
	text, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// TestEveryAllowedRetirementReplays: whatever the fleet is, a receipt is replayed if
// and only if its retirement was allowed.
func TestEveryAllowedRetirementReplays(t *testing.T) {
	t.Parallel()
	changes := []func(*events.User){
		serves, accepts, endedU, anyV, lastly, longAgo, lately, failing, stage3, garble, foreign,
		func(u *events.User) { u.Use.VersionID = "v1" },
		func(u *events.User) { u.Use.VersionID = "" },
		func(u *events.User) { u.Use.Fence = 3600 },
		func(u *events.User) { u.Presence.Lease = 7200 },
		func(u *events.User) { u.Use.At, u.Presence.StartedAt = t0.Add(-30*time.Minute), t0.Add(-3*time.Hour) },
		func(u *events.User) { u.Use.Joined = false },
		func(u *events.User) { u.Presence.Fleet = "eu" },
	}
	allowed := 0
	rapid.Check(t, func(t *rapid.T) {
		var users []events.User
		for n := range rapid.IntRange(0, 4).Draw(t, "users") {
			u := using("v2")
			u.Use.Instance, u.Use.Incarnation = fmt.Sprint(n), fmt.Sprint("i", n)
			for _, c := range rapid.SliceOfN(rapid.SampledFrom(changes), 0, 2).Draw(t, "changes") {
				c(&u)
			}
			users = append(users, u)
		}
		p := proof(append(users, using("v2"))...)
		p.Question.Pending = rapid.SampledFrom([]secret.VersionID{"", "v3"}).Draw(t, "pending")
		p.Question.Spec.Proof = rapid.SampledFrom([]secret.Proof{
			{}, {Fleets: []string{"eu"}}, {Consumers: []secret.Consumer{{Name: "erp"}}}, {Consumers: []secret.Consumer{{Name: "erp", After: time.Hour}}},
			{Subscribers: map[string]secret.Subscriber{"api": {PresumedEndedAfter: time.Minute}}},
			{Subscribers: map[string]secret.Subscriber{"api": {JoinRequired: true}, "other": {Kind: secret.KindJob, MaxRun: time.Minute}}},
			{Subscribers: map[string]secret.Subscriber{"api": {Kind: secret.KindJob, MaxRun: 9 * time.Hour}}},
		}).Draw(t, "proof")
		p.Question.Confirmed = rapid.SampledFrom([]map[string]events.Confirmed{nil, {"erp": {VersionID: "v1"}}, {"erp": {VersionID: "v2", By: "ann"}}}).Draw(t, "confirmed consumers")
		p.Question.Foreign = rapid.SampledFrom([]string{"", "another scheduler works on the secret"}).Draw(t, "foreign")
		p.Question.Spec.Grace = rapid.SampledFrom([]time.Duration{0, -1, time.Minute}).Draw(t, "grace")
		p.Fleet.ConfirmedBy = rapid.SampledFrom([]string{"", "ann"}).Draw(t, "confirmed")
		if rapid.Bool().Draw(t, "lost") {
			p.Fleet.Since = t0.Add(-time.Hour)
		}
		p.Logged.Reason = rapid.SampledFrom([]events.Reason{events.ReasonManual, events.ReasonEmergency}).Draw(t, "logged")
		p.Order.Reason = rapid.SampledFrom([]events.Reason{events.ReasonManual, events.ReasonEmergency}).Draw(t, "order")
		may := p.Question.MayRetire(p.Order, p.Logged, p.Fleet)
		err := Replay(stored(t, p.Receipt("/w", t0)))
		if may.Allowed() != (err == nil) {
			t.Fatalf("allowed: %t (%s), replayed: %v", may.Allowed(), may.Because, err)
		}
		if may.Allowed() {
			allowed++
		}
	})
	if allowed == 0 {
		t.Error("no fleet allowed the retirement")
	}
}

// TestAReceiptThatContradictsItself: it does not pass, whichever key signed it.
func TestAReceiptThatContradictsItself(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]func(*events.Receipt){
		"a live user runs the version before": func(r *events.Receipt) { r.Users[0].VersionID = "v1" },
		"a live user accepts it":              func(r *events.Receipt) { r.Users[0].Accepts = []secret.VersionID{"v1"} },
		"a user is gone":                      func(r *events.Receipt) { r.Users = r.Users[1:] },
		"a user was added":                    func(r *events.Receipt) { r.Users = append(r.Users, r.Users[0]) },
		"a user has another state":            func(r *events.Receipt) { r.Users[0].State = "ended" },
		"the end of a fence is another":       func(r *events.Receipt) { r.Users[0].FenceEnd = t0 },
		"nothing was retired":                 func(r *events.Receipt) { r.Retired = nil },
		"the version that stays was retired":  func(r *events.Receipt) { r.Retired = []secret.VersionID{"v2"} },
		"another basis":                       func(r *events.Receipt) { r.Basis = events.BasisConfirmed },
		"an emergency without its cause":      func(r *events.Receipt) { r.Basis = events.BasisEmergency },
		"decided before the floor":            func(r *events.Receipt) { r.PromotedAt = t0.Add(-time.Minute) },
		"decided within the grace period":     func(r *events.Receipt) { r.RetireAt = t0.Add(time.Hour) },
		"the rollout had not drained":         func(r *events.Receipt) { r.State = events.RolloutConverged },
		"a longer fence":                      func(r *events.Receipt) { r.Rules.Fence = "30d" },
		"a fence that is no time":             func(r *events.Receipt) { r.Rules.Fence = "soon" },
		"no fence":                            func(r *events.Receipt) { r.Rules.Fence = "0s" },
		"a grace that is no time":             func(r *events.Receipt) { r.Rules.Grace = "" },
		"a consumer that was not confirmed":   func(r *events.Receipt) { r.Rules.Proof.Consumers = []secret.Consumer{{Name: "erp"}} },
		"a job whose longest run is not over": func(r *events.Receipt) {
			r.Rules.Proof.Subscribers = map[string]secret.Subscriber{"api": {Kind: secret.KindJob, MaxRun: 99 * time.Hour}}
		},
		"a fleet that was not heard from":        func(r *events.Receipt) { r.Rules.Proof.Fleets = []string{"eu"} },
		"a doubt that it does not say":           func(r *events.Receipt) { r.Foreign = "another program wrote version v2" },
		"another floor":                          func(r *events.Receipt) { r.Rules.Floor = t0 },
		"another lease":                          func(r *events.Receipt) { r.Rules.Lease = "1d" },
		"another subscriber":                     func(r *events.Receipt) { r.Rules.Services = append(r.Rules.Services, "billing") },
		"other counts":                           func(r *events.Receipt) { r.Instances["live"]++ },
		"more instances applied":                 func(r *events.Receipt) { r.Applied++ },
		"instances break that it does not list":  func(r *events.Receipt) { r.Breaks = make([]events.Blocker, 1) },
		"a timer would have broken more":         func(r *events.Receipt) { r.Timer.Broken = 9 },
		"the stream was lost without a word":     func(r *events.Receipt) { r.Barrier.Confirmed = time.Time{} },
		"the stream was made after confirmation": func(r *events.Receipt) { r.Barrier.Since = t0 },
		"omitted users that it does not count":   func(r *events.Receipt) { r.Omitted = &events.ReceiptOmitted{Instances: map[string]int{"live": 3}} },
	} {
		r := stored(t, proof(using("v2"), user(using("v1"), serves, endedU)).Receipt("/w", t0))
		if err := Replay(r); err != nil {
			t.Fatalf("unchanged: %v", err)
		}
		c(&r)
		if err := Replay(r); !errors.Is(err, ErrReplay) {
			t.Errorf("%s: %v, want that the receipt contradicts itself", name, err)
		}
	}
}

// TestTimerBreaks: which instances a timer would have broken.
func TestTimerBreaks(t *testing.T) {
	t.Parallel()
	promoted, after := t0, time.Hour
	at := func(started, applied time.Duration) func(*events.User) {
		return func(u *events.User) {
			u.Presence.StartedAt, u.Use.At = t0.Add(started), t0.Add(applied)
			u.UsedAt, u.RenewedAt = t0.Add(9*time.Hour), t0.Add(9*time.Hour)
		}
	}
	last := func(d time.Duration) func(*events.User) {
		return func(u *events.User) { u.RenewedAt, u.UsedAt = t0.Add(d), t0.Add(d) }
	}
	for name, tt := range map[string]struct {
		u    events.User
		want bool
	}{
		"took the version in time":                 {user(using("v2"), at(-time.Hour, 59*time.Minute)), false},
		"took the version when the timer fired":    {user(using("v2"), at(-time.Hour, time.Hour)), false},
		"took the version late":                    {user(using("v2"), at(-time.Hour, 61*time.Minute)), true},
		"its clock is ahead":                       {user(using("v2"), at(-time.Hour, 99*time.Hour), last(time.Minute)), false},
		"started later":                            {user(using("v2"), at(2*time.Hour, 2*time.Hour)), false},
		"started before, and took it late":         {user(using("v2"), at(30*time.Minute, 2*time.Hour)), true},
		"ended before with the version before":     {user(using("v1"), at(-time.Hour, -time.Hour), last(59*time.Minute), endedU), false},
		"ended later with the version before":      {user(using("v1"), at(-time.Hour, -time.Hour), last(2*time.Hour), endedU), true},
		"silent, its fence had ended":              {user(using("v1"), at(-time.Hour, -time.Hour), last(30*time.Minute)), false},
		"silent, within its fence":                 {user(using("v1"), at(-time.Hour, -time.Hour), last(50*time.Minute)), true},
		"silent and serves on, last heard before":  {user(using("v1"), at(-time.Hour, -time.Hour), last(50*time.Minute), serves), false},
		"silent and serves on, last heard of late": {user(using("v1"), at(-time.Hour, -time.Hour), last(2*time.Hour), serves), true},
		"it never took a version":                  {user(using(""), at(-time.Hour, 0), last(time.Minute)), false},
	} {
		got := TimerBreaks([]events.User{tt.u}, "v2", promoted, fence, after)
		if want := []string{"api/1"}; tt.want != slices.Equal(got, want) || !tt.want && len(got) > 0 {
			t.Errorf("%s: %v, want it broken: %t", name, got, tt.want)
		}
	}
}

// TestALargeFleetFits: a receipt is bounded. The users that decide are listed, and the
// others are counted.
func TestALargeFleetFits(t *testing.T) {
	t.Parallel()
	users := make([]events.User, 0, 10_000)
	for n := range cap(users) {
		u := using("v2")
		u.Use.Instance, u.Use.Incarnation = fmt.Sprintf("instance-%05d-%s", n, strings.Repeat("x", 40)), strings.Repeat("y", 20)
		if n%3 == 0 {
			endedU(&u)
		}
		users = append(users, u)
	}
	users[len(users)-1] = user(using("v1"), longAgo) // silent, past its fence
	p := proof(users...)
	p.Question.Spec.Services = []string{"api", "billing"}
	late := using("v2")
	late.Use.Service, late.Use.Instance = "billing", "zz"
	p.Fleet.Users = append(p.Fleet.Users, late)
	r := stored(t, p.Receipt("/w", t0))
	text, err := json.Marshal(r)
	if err != nil || len(text) > events.MaxReceiptSize-(20<<10) {
		t.Fatalf("the receipt has %d bytes, %v", len(text), err)
	}
	if r.Omitted == nil || len(r.Omitted.SHA256) != 64 || len(r.Users)+r.Omitted.Instances["live"]+r.Omitted.Instances["ended"]+r.Omitted.Instances["silent"] != len(p.Fleet.Users) {
		t.Fatalf("%d users are listed, and %+v are counted", len(r.Users), r.Omitted)
	}
	if !slices.ContainsFunc(r.Users, func(u events.ReceiptUser) bool { return u.State == "silent" }) ||
		!slices.ContainsFunc(r.Users, func(u events.ReceiptUser) bool { return u.Service == "billing" }) {
		t.Error("a user that decides is not listed")
	}
	if err := Replay(r); err != nil {
		t.Error(err)
	}
	r.Omitted.Instances["live"]++
	if err := Replay(r); !errors.Is(err, ErrReplay) {
		t.Errorf("with another count: %v", err)
	}
}

// TestAReceiptSaysWhatATimerWouldHaveDone: the number and the names.
func TestAReceiptSaysWhatATimerWouldHaveDone(t *testing.T) {
	t.Parallel()
	late := user(using("v2"), func(u *events.User) { u.Use.At, u.Presence.StartedAt = t0.Add(-time.Minute), t0.Add(-3*time.Hour) })
	r := proof(late).Receipt("/w", t0)
	if r.Timer.Broken != 1 || r.Timer.After != "1h" || !slices.Equal(r.Timer.Instances, []string{"api/1"}) {
		t.Errorf("the receipt says %+v of a timer", r.Timer)
	}
}
