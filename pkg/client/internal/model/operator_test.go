//go:build !race

package model

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// What an operator says about processes that nothing is heard from, in ticks.
const (
	presumedAfter = 2 // a silent instance has ended
	movedAfter    = 3 // a consumer uses the current version
)

// said puts into the question what an operator declared, with the clauses that are left.
func (w *world) said(q *rollout.Question, s state) {
	if w.fleets && !w.off("a fleet that was not heard from blocks") {
		q.Spec.Proof.Fleets = []string{"eu", "us"}
		if w.off("a fleet counts while an instance of it lives") && s.heard == 1 {
			q.Spec.Proof.Fleets = []string{"eu"}
		}
	}
	if w.presumes {
		after := presumedAfter * tick
		if w.off("a presumed end waits for its time") {
			after = time.Nanosecond
		}
		q.Spec.Proof.Subscribers = map[string]secret.Subscriber{"api": {PresumedEndedAfter: after}}
	}
	if w.after && len(q.Spec.Proof.Consumers) > 0 {
		q.Spec.Fence = tick
		q.Spec.Proof.Consumers[0].After = movedAfter * tick
		if w.off("a consumer counts as moved after its time") {
			q.Spec.Proof.Consumers[0].After = time.Nanosecond
		}
	}
	q.Emergency = s.urgent == 1
}

// declared notes of whom an operator said what is not true: that a process has ended
// which is only silent, or that a consumer has moved. Its use of a retired version is the
// operator's doing, and no answer of yes may rest on it.
func (s *state) declared(w *world) {
	for i := range w.n {
		p := &s.in[i]
		if w.presumes && p.present == 1 && p.renewed >= presumedAfter || w.after && s.promoted >= movedAfter && p.ver < s.cur {
			p.gone = 1
		}
	}
}

// brokenAnswer returns what is wrong when status says that it is safe to revoke what was
// before.
func (w *world) brokenAnswer(s state) string {
	uses := -1
	for i := range w.n {
		if p := s.in[i]; p.phase == up && p.ended == 0 && p.ver < s.cur {
			uses = i
		}
	}
	if uses < 0 || !w.yes(s) {
		return ""
	}
	return fmt.Sprintf("the answer is yes, and instance %d uses v%d", uses, s.in[uses].ver)
}

// yes asks the rules whether it is safe.
func (w *world) yes(s state) bool {
	key := w.view(0, s)
	if ok, known := w.answered[key]; known {
		return ok
	}
	q, f := w.fleet(s)
	if w.off("a presumed end makes the answer unknown") {
		for i, u := range f.Users {
			f.Users[i].Presence.Ended = rollout.StateOf(u, f.At) == rollout.InstanceSilent && !u.RenewedAt.After(ago(presumedAfter))
		}
	}
	if w.off("a consumer that counts as moved makes the answer unknown") && s.promoted >= movedAfter {
		q.Spec.Proof.Consumers = nil
	}
	r := rollout.Resume(w.event(s.cur, s, events.RolloutConverged))
	ok := q.Safe(r, f).Answer == rollout.AnswerYes
	w.answered[key] = ok
	return ok
}

// urgent returns the order to retire and the event of the log as an emergency has them.
// Orders are forged, so that any of them may claim to be one.
func (w *world) urgent(order, logged events.Data, s state) (events.Data, events.Data) {
	order.Reason = events.ReasonEmergency
	if s.urgent == 1 || w.off("an emergency is one by the log") {
		logged.Reason = events.ReasonEmergency
	}
	return order, logged
}

// serving takes the users away that only an act ends, if an emergency is wrongly said not
// to wait for them.
func (w *world) serving(f *events.Fleet, s state) {
	if s.urgent == 0 || !w.off("an emergency waits for what serves on") {
		return
	}
	var left []events.User
	for _, u := range f.Users {
		if rollout.StateOf(u, f.At) != rollout.InstanceSilent || u.Use.PastFence == events.PastFenceRefuse {
			left = append(left, u)
		}
	}
	f.Users = left
}

// warn notes whom an emergency says that it breaks.
func (w *world) warn(s *state) {
	if s.urgent == 0 {
		return
	}
	s.name(w, w.breaks(*s, func(q rollout.Question, f events.Fleet) []events.Blocker { return q.Ask(f).Breaks }))
}

// breaks returns whom a retirement is said to break, with the clauses that are left.
func (w *world) breaks(s state, ask func(rollout.Question, events.Fleet) []events.Blocker) []events.Blocker {
	if w.off("an emergency names whom it breaks") || w.off("a forced revocation names whom it breaks") {
		return nil
	}
	key := w.view(0, s)
	if out, known := w.named[key]; known {
		return out
	}
	out := ask(w.fleet(s))
	w.named[key] = out
	return out
}

// force retires what was before the current version without proof, as a person may.
func (w *world) force(s state, next emit) {
	if s.dead+1 >= s.cur {
		return
	}
	breaks := w.breaks(s, func(q rollout.Question, f events.Fleet) []events.Blocker {
		_, out := q.Forced(f, ids[s.cur-1], events.Forced{}, "", now)
		return out
	})
	s.dead = s.cur - 1
	s.name(w, breaks)
	next("revoke by force", int(s.dead), s)
}

// name notes the instances among blockers, and those without a record: nothing can name
// them, and the floor that would cover them is skipped.
func (s *state) name(w *world, breaks []events.Blocker) {
	for i := range w.n {
		p := &s.in[i]
		if p.rec == 0 && p.phase != fresh {
			p.named = 1
		}
		for _, b := range breaks {
			if b.Instance == strconv.Itoa(i) {
				p.named = 1
			}
		}
	}
}
