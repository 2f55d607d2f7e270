//go:build !race

package model

import (
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// run is what a run of a job may do: read the primary once, with or without a record
// as agent --once leaves one, and use that until it ends. Its age is confirmed, and it
// never renews.
func (w *world) run(i int, s state, next emit) {
	do := func(what string, change func(*inst)) {
		n := s
		change(&n.in[i])
		next(what, i, n)
	}
	switch p := s.in[i]; {
	case p.ended == 1:
		do("another run", func(q *inst) { *q = begin() })
	case p.phase == fresh:
		do("start a run", func(q *inst) { q.phase, q.confirmed, q.rec, q.present, q.renewed = joined, 0, 1, 1, 0 })
		do("start a run without a record", func(q *inst) { q.phase, q.confirmed = alone, 0 })
	case p.phase == up:
		do("end the run", func(q *inst) { q.ended = 1 })
	case p.ask == 0:
		do("ask the primary", func(q *inst) { q.ask = s.cur })
	default:
		do("first read", func(q *inst) {
			if q.ver, q.ask = q.ask, 0; q.phase == joined {
				q.rec = 1 + q.ver
			}
			q.phase = up
		})
	}
}

// runsOut ends a run that has lasted as long as the longest one.
func (w *world) runsOut(p *inst) {
	if w.job && p.phase != fresh && p.confirmed == never {
		p.ended, p.ask = 1, 0
	}
}

// consume is what people do with a consumer that has no client: they bring it to the
// current version, and confirm the version that it uses, soon or late.
func (w *world) consume(i int, s state, next emit) {
	n := s
	if n.in[i].ver, n.in[i].gone = s.cur, 0; n != s {
		next("bring the consumer to the current version", i, n)
	}
	n = s
	if n.in[i].rec = 1 + s.in[i].ver; n != s {
		next("confirm", i, n)
	}
}

// rule10 says in the question who has no live instance, with the clauses that are
// left.
func (w *world) rule10(q *rollout.Question, s state) {
	if w.job {
		q.Spec.Services, q.Spec.Fence = append(q.Spec.Services, "nightly"), tick
		longest := length
		if w.off("a job counts until its longest run") {
			longest = time.Nanosecond
		}
		q.Spec.Proof.Subscribers = map[string]secret.Subscriber{"nightly": {Kind: secret.KindJob, MaxRun: longest}}
	}
	if !w.consumer || w.off("a consumer blocks until it is confirmed") {
		return
	}
	q.Spec.Proof.Consumers = []secret.Consumer{{Name: "erp"}}
	if rec := s.in[0].rec; rec > 0 {
		v := ids[rec-1]
		if w.off("a confirmation is of one version") {
			v = q.VersionID
		}
		q.Confirmed = map[string]events.Confirmed{"erp": {VersionID: v}}
	}
}
