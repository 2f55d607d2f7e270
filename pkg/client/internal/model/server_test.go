//go:build !race

package model

import (
	"slices"
	"strconv"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// server yields what the store, the stream, the notifiers and the workers may do.
func (w *world) server(s state, next emit) {
	n := s
	n.tick(w)
	next("tick", 0, n)
	w.workers(s, next)
	if w.persons {
		w.people(s, next)
	}
	if w.forces {
		w.force(s, next)
	}
	if w.loses && s.lost == 0 {
		n := s
		n.lost, n.began = 1, 0
		for i := range n.in {
			p := &n.in[i]
			p.rec, p.recAcc, p.present, p.renewed, p.purge = 0, 0, 0, 0, 0
		}
		next("lose the stream", 0, n)
	}
	if w.purges {
		w.purge(s, next)
	}
	if w.notifiers > 0 {
		w.notify(s, next)
	}
}

// purge removes the records of a silent instance whose fence has ended: first its
// presence, if that was not renewed since, then its use, if that was not written
// since.
func (w *world) purge(s state, next emit) {
	for i := range w.n {
		n := s
		p := &n.in[i]
		switch u := w.user(i, s); {
		case p.purge == 0 && p.present == 1 && p.rec != 0 && rollout.StateOf(u, now) == rollout.InstanceSilent:
			if end, ok := rollout.FenceEnd(u, ago(s.promoted), length); ok && !now.Before(end) {
				p.purge = 1
				next("decide to purge", i, n)
			}
		case p.purge == 1 && w.off("the presence is purged first"):
			p.purge, p.rec, p.recAcc = 0, 0, 0
			next("purge the use of", i, n)
		case p.purge == 1:
			p.purge, p.present, p.renewed = 2, 0, 0
			next("purge the presence of", i, n)
		case p.purge == 2:
			p.purge, p.rec, p.recAcc = 0, 0, 0
			next("purge the use of", i, n)
		}
	}
}

// workers promote, prove and retire. A worker that proved acts at any later time,
// or never.
func (w *world) workers(s state, next emit) {
	if w.rotations {
		w.rotate(s, next)
	} else if s.cur < w.versions {
		n := s
		n.promote()
		next("promote", int(n.cur), n)
		if n.urgent = 1; w.emergencies {
			next("promote in an emergency", int(n.cur), n)
		}
	}
	for k := range w.workersN {
		if s.work[k] == 0 {
			if n := s; w.accepts && s.unstaged < s.cur-1 && w.drains(s) {
				n.unstaged = s.cur - 1
				next("take the stage of", int(n.unstaged), n)
			}
			for o := uint8(2); o <= s.cur; o++ {
				if o > s.dead+1 && !w.off("a worker retires") && w.allowed(o, s) {
					n := s
					n.work[k] = o
					w.warn(&n)
					next("prove for", int(o), n)
				}
			}
			continue
		}
		n := s
		n.dead, n.work[k] = max(s.dead, s.work[k]-1), 0
		if w.off("the order names the current version") {
			n.dead = max(n.dead, s.cur-1)
		}
		next("retire", int(n.dead), n)
		n = s
		n.work[k] = 0
		next("a worker dies", k, n)
	}
}

// drains reports whether a worker may begin with the retirement of what was before.
func (w *world) drains(s state) bool {
	return w.notifiers == 0 || s.of == s.cur && states[s.is] == events.RolloutDraining
}

func (s *state) promote() { s.cur, s.promoted, s.urgent = s.cur+1, 0, 0 }

// rotate makes and promotes versions: two workers from one cause.
func (w *world) rotate(s state, next emit) {
	for k := range w.workersN {
		n := s
		from := s.from[k]
		switch made := s.made >> (2 * from) & 3; {
		case from == 0 && w.persons && s.cur < w.versions:
			w.take(k, s, next)
		case from == 0 && s.cur < w.versions:
			n.from[k] = s.cur
			next("read the current version to rotate", k, n)
		case from == 0:
		case w.creates(k, s) && w.sameToken(from, made, s):
			n.made += 1 << (2 * from)
			n.pending = from
			if s.kind[k] == supplied {
				n.mine = instead
			}
			next("create the version after", int(from), n)
		case w.promotes(k, s) && s.pending != 0 && s.pending == from && s.cur == from && s.cur < w.versions:
			n.promote()
			n.pending, n.mine, n.from[k], n.kind[k], n.held[k] = 0, 0, 0, 0, 0
			next("promote", int(n.cur), n)
		case made > 0 && w.off("promotion by compare-and-set"):
			n.cur, n.promoted, n.from[k] = from+1, 0, 0
			next("promote", int(n.cur), n)
		default:
			n.from[k], n.kind[k], n.held[k] = 0, 0, 0
			next("give a rotation up", k, n)
		}
	}
}

// sameToken reports whether a worker creates a version: the token of the rotation is
// not in the store yet.
func (w *world) sameToken(from, made uint8, s state) bool {
	if w.off("one token for each cause") {
		return made < 2 && s.pending == 0 && s.cur < w.versions
	}
	existing := secret.Token("")
	if made > 0 {
		existing = tokens[from]
	}
	return tokens[from] != existing && s.cur == from
}

// tokens are those of the rotations away from each version.
var tokens = func() (out [len(ids)]secret.Token) {
	for i, v := range ids {
		out[i] = (&world{}).spec().Token(v, 0)
	}
	return out
}()

func (w *world) spec() secret.Spec {
	s := secret.Spec{ID: "S", Store: "x", Fence: length, Grace: tick, Deadline: 2 * tick, Services: []string{"api"}}
	if w.other {
		s.Services = append(s.Services, "batch")
	}
	if w.off("a subscriber without an instance blocks") {
		s.Services = s.Services[:1]
	}
	if w.off("the floor") {
		s.Fence = time.Nanosecond
	}
	return s
}

// user returns what is stored of instance i.
func (w *world) user(i int, s state) events.User {
	p := s.in[i]
	u := events.User{UsedAt: ago(0)}
	u.Use.Service, u.Use.Instance, u.Use.Incarnation = w.service(i), strconv.Itoa(i), "x"
	u.Use.SecretID, u.Use.Status, u.Use.PastFence, u.Use.Fence = "S", events.StatusApplied, events.PastFenceServe, int(length/time.Second)
	u.Use.Accepts = []secret.VersionID{}
	if w.refuse && w.kind[i] == 0 || w.off("serve blocks until it has ended") {
		u.Use.PastFence = events.PastFenceRefuse
	}
	if p.rec > 0 {
		u.Use.VersionID = ids[p.rec-1]
	}
	if p.recAcc > 0 && !w.off("what is accepted blocks") {
		u.Use.Accepts = append(u.Use.Accepts, ids[p.recAcc])
	}
	if p.present == 1 {
		u.RenewedAt, u.Presence.Lease = ago(p.renewed), int(lease/time.Second)
	}
	if w.presumes {
		u.UsedAt = u.RenewedAt
	}
	if w.fleets {
		u.Presence.Fleet = []string{"us", "eu"}[min(i, 1)]
	}
	if w.garbled {
		u.Problem = "of a later client"
	}
	if w.unjoined && i < w.n {
		u.RenewedAt, u.UsedAt = time.Time{}, ago(never)
		if w.off("what is not understood is not presumed to have ended") {
			u.Problem, u.RenewedAt = "", u.UsedAt
		}
	}
	if w.off("joining blocks everything") && p.rec == 1 {
		u.Use.VersionID = ids[s.cur]
	}
	return u
}

func (w *world) service(i int) string {
	if w.other && i == 0 {
		return "batch"
	}
	if w.job && i == 0 {
		return "nightly"
	}
	return "api"
}

// fleet returns what a worker reads through its barrier, and the question that it
// asks. A live instance that always runs the current version is part of a world
// without notifiers: its service is heard of.
func (w *world) fleet(s state) (rollout.Question, events.Fleet) {
	q := rollout.Question{Spec: w.spec(), VersionID: ids[s.cur], Promoted: ago(s.promoted), Unstaged: !w.accepts || s.unstaged+1 >= s.cur || w.off("the stage is taken before the proof")}
	w.rule10(&q, s)
	w.said(&q, s)
	f := events.Fleet{SecretID: "S", At: now, Since: epoch, Confirmed: epoch, Full: w.full && !w.off("a full stream blocks")}
	if s.lost == 1 && !w.off("a stream that was lost is unknown") {
		f.Since = ago(s.began)
		if w.refuse { // a person confirms that none that serves on was lost
			f.Confirmed, f.ConfirmedBy = f.Since, "ada"
		}
	}
	if w.off("the clock may be slow") {
		f.At = now.Add(length / 100)
	}
	if w.notifiers == 0 {
		u := w.user(1, state{in: [maxInst]inst{1: {rec: 1 + s.cur, present: 1}}})
		u.Problem, u.Use.Service, u.Use.Instance, u.Use.Fence = "", "api", "witness", 0
		f.Users = append(f.Users, u)
	}
	for i := range w.n {
		if s.in[i].rec == 0 || w.consumer {
			continue
		}
		u := w.user(i, s)
		state := rollout.StateOf(u, f.At)
		drop := w.off("a record outlives its lease") && state == rollout.InstanceSilent || w.off("silent waits for its fence") && state == rollout.InstanceSilent ||
			w.off("live blocks") && state == rollout.InstanceLive || w.off("what is not understood blocks") && u.Problem != ""
		if !drop {
			f.Users = append(f.Users, u)
		}
	}
	w.serving(&f, s)
	return q, f
}

// allowed asks the rules whether an order for version o may be carried out. Orders
// are forged, repeated and late: any may arrive at any time.
func (w *world) allowed(o uint8, s state) bool {
	key := w.view(o, s)
	if ok, known := w.asked[key]; known {
		return ok
	}
	q, f := w.fleet(s)
	order := w.event(o, s, events.RolloutDraining)
	logged := order
	if w.notifiers > 0 {
		logged = w.event(s.of, s, states[s.is])
		w.forge(&logged, o)
	}
	if w.off("the order names the current version") {
		q.VersionID = ids[o]
	}
	late := true
	if w.off("a fence counts from the promotion too") || w.off("neither a fence nor the floor counts from the promotion") {
		late = !now.Before(rollout.Floor(q.Promoted, length)) || !w.off("a fence counts from the promotion too")
		q.Promoted = epoch
	}
	ok := late && q.MayRetire(order, logged, f).Allowed()
	if w.emergencies && !ok {
		order, logged = w.urgent(order, logged, s)
		ok = q.MayRetire(order, logged, f).Allowed()
	}
	w.asked[key] = ok
	return ok
}

// forge takes a clause about the log away.
func (w *world) forge(d *events.Data, o uint8) {
	if w.off("only of the same rollout") && d.VersionID != ids[o] {
		d.VersionID, d.Rollout.StartedAt = ids[o], started(o)
	}
	if w.off("only once it drains") {
		d.Rollout.State = events.RolloutDraining
		d.Rollout.RetireAt = epoch
	}
}

// view returns what the answer depends on, and nothing else.
func (w *world) view(o uint8, s state) state {
	v := state{urgent: s.urgent, heard: s.heard, cur: s.cur, promoted: s.promoted, lost: s.lost, began: s.began, of: s.of, is: s.is, converged: s.converged, unstaged: s.unstaged, work: [2]uint8{o}}
	for i := range w.n {
		p := s.in[i]
		v.in[i] = inst{rec: p.rec, recAcc: p.recAcc, renewed: p.renewed, present: p.present}
	}
	return v
}

// states are the states of a rollout in the log; the index is what a state stores.
var states = []events.RolloutState{"", events.RolloutRolling, events.RolloutWaiting, events.RolloutStalled, events.RolloutConverged, events.RolloutDraining,
	events.RolloutRetired, events.RolloutSuperseded}

// What an action is called.
var publishing, deciding = named("publish "), named("decide ")

func named(verb string) (out [8]string) {
	for i, s := range states {
		out[i] = verb + string(s)
	}
	return out
}

func started(v uint8) time.Time { return epoch.Add(time.Duration(v) * time.Hour) }

// event returns what the log says of the rollout of v in the state is.
func (w *world) event(v uint8, s state, is events.RolloutState) events.Data {
	d := events.Data{SecretID: "S", VersionID: ids[v], Rollout: &events.Rollout{State: is, StartedAt: started(v)}}
	if v > 1 {
		d.PreviousVersionID = ids[v-1]
	}
	if w.notifiers == 0 {
		d.Rollout.RetireAt = epoch
		return d
	}
	d.OccurredAt = ago(s.since)
	if s.converged < 7 {
		d.Rollout.ConvergedAt = ago(s.converged)
	}
	if is == events.RolloutConverged || is == events.RolloutDraining {
		d.Rollout.RetireAt = ago(s.converged).Add(tick)
		if floor := rollout.Floor(ago(s.promoted), length); s.of == s.cur && floor.After(d.Rollout.RetireAt) {
			d.Rollout.RetireAt = floor
		}
	}
	return d
}

// notify lets a notifier decide, on what it knows then, or publish what it decided:
// directly after the event that it knew of, or not at all.
func (w *world) notify(s state, next emit) {
	for k := range w.notifiers {
		n := s
		if s.pend[k] != 0 {
			n.publish(s.pend[k], s.pendAge[k], w)
			next(publishing[s.pend[k]%8], k, n)
			continue
		}
		if to := w.decide(s); to != 0 {
			n.pend[k], n.pendAge[k] = to, 0
			next(deciding[to%8], k, n)
		}
	}
}

// decide returns the state that a rollout moves to, 8 more for that of the current
// version after another one, or 0.
func (w *world) decide(s state) uint8 {
	key := w.view(0, s)
	key.since = s.since
	if to, known := w.decided[key]; known {
		return to
	}
	r, f, more := w.facts(s)
	to, _ := rollout.Advance(now, r, f)
	out := uint8(0)
	if to.State != r.State && to.State != "" {
		out = uint8(slices.Index(states, to.State)) + more
	}
	w.decided[key] = out
	return out
}

// facts returns the rollout as the log has it, and what is decided on.
func (w *world) facts(s state) (r rollout.Rollout, f rollout.Facts, more uint8) {
	q, fleet := w.fleet(s)
	r = rollout.Resume(w.event(s.of, s, states[s.is]))
	r.Reminder = now.Add(time.Hour)
	if r.Ended() && s.cur > s.of {
		r, more = rollout.Begin(events.Data{SecretID: "S", VersionID: ids[s.cur], PreviousVersionID: ids[s.cur-1], OccurredAt: started(s.cur)}), 8
	}
	q.VersionID = r.VersionID
	f = rollout.Facts{Configured: true, Grace: tick, Deadline: 2 * tick, Newer: more == 0 && s.cur > s.of, Fresh: true}.With(q.Ask(fleet))
	return r, f, more
}

// publish puts a decision into the log, and makes every other one lose.
func (s *state) publish(to, age uint8, w *world) {
	if !w.off("a move follows the event that it was decided on") {
		s.pend, s.pendAge = [2]uint8{}, [2]uint8{}
	} else if i := slices.Index(s.pend[:], to); i >= 0 {
		s.pend[i], s.pendAge[i] = 0, 0
	}
	if to >= 8 {
		s.of, s.converged, s.drained = s.cur, 7, 0
	}
	s.is, s.since = to%8, age
	switch states[s.is] {
	case events.RolloutConverged:
		if s.converged == 7 || !w.off("grace counts from the last convergence") {
			s.converged = age
		}
	case events.RolloutDraining:
		s.drained = 1
	default:
		s.calm, s.drained = 0, 0
	}
}
