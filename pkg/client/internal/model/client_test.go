//go:build !race

package model

// emit takes a state that one action leads to.
// It says what was done, and to which instance or version.
type emit func(what string, who int, s state)

// client yields what instance i and the network may do. A pause, a partition and a
// lost message need no action of their own: the next one does not come.
func (w *world) client(i int, s state, next emit) {
	switch {
	case w.plain:
		w.healthy(i, s, next)
		return
	case w.job:
		w.run(i, s, next)
		return
	case w.consumer:
		w.consume(i, s, next)
		return
	}
	p := s.in[i]
	do := func(what string, change func(*state, *inst)) {
		n := s
		change(&n, &n.in[i])
		n.in[i].rest()
		next(what, i, n)
	}
	if s.in[i].ended == 1 {
		do("restart", func(n *state, q *inst) { *q = begin() })
		return
	}
	switch p.phase {
	case fresh:
		w.start(do)
	case joined, alone:
		w.first(i, s, do)
	case up:
		w.running(i, s, do)
	}
	w.network(i, s, do)
	if w.restarts && p.phase == up {
		do("restart", func(_ *state, q *inst) { *q = begin() })
	}
	if w.crashes && p.phase == up {
		do("kill", func(n *state, q *inst) { q.ended = 1; q.ask, q.renewal = 0, 0 })
	}
}

// healthy is an instance that renews in time, so that the search goes deeper into
// what the log and the workers do. It joins, takes the current version, restarts and
// dies.
func (w *world) healthy(i int, s state, next emit) {
	n := s
	q := &n.in[i]
	switch {
	case s.in[i].ended == 1:
		*q = begin()
		next("restart", i, n)
	case q.phase == fresh:
		q.phase, q.rec, q.present, q.renewed = joined, 1, 1, 0
		next("join", i, n)
	case q.ver < s.cur:
		*q = inst{phase: up, ver: s.cur, presence: never, record: 1 + s.cur, cas: 1, rec: 1 + s.cur, present: 1}
		next("take the current version", i, n)
	}
	if q := s.in[i]; q.phase == up && s.in[i].ended == 0 {
		n := s
		n.in[i].ended = 1
		next("kill", i, n)
	}
}

// begin returns an incarnation that knows nothing and of which nothing is known.
func begin() inst { return inst{confirmed: never, presence: never} }

type change func(what string, change func(*state, *inst))

// start: a serve user joins first, unless its configuration lets it start alone.
func (w *world) start(do change) {
	if !w.full {
		do("join", func(n *state, q *inst) {
			w.join(q)
			w.write(q, true)
			if q.phase = joined; w.off("a fleet counts while an instance of it lives") {
				n.heard = 1
			}
		})
	}
	if w.refuse || w.startsAlone || w.off("serve joins first") {
		do("start alone", func(_ *state, q *inst) { q.phase = alone })
	}
}

// join stores a presence that replaces whatever was there.
func (w *world) join(q *inst) {
	f := q.fence()
	was := f.State
	f.Joined(clock(0))
	if w.off("uses are written after the join") {
		f.Recorded, f.Record = was.Recorded, was.Record
	}
	q.keep(f)
	q.present, q.renewed, q.cas, q.purge = 1, 0, 1, 0
}

// write stores the use record; the acknowledgement may be lost.
func (w *world) write(q *inst, acked bool) {
	q.rec, q.recAcc = 1+q.ver, q.acc
	if q.purge == 2 {
		q.purge = 0
	}
	if acked {
		f := q.fence()
		f.Acknowledged(ids[q.ver])
		q.keep(f)
	}
}

// first is the first read of a process.
func (w *world) first(i int, s state, do change) {
	p := s.in[i]
	if p.ask == 0 {
		do("ask the primary", func(n *state, q *inst) {
			q.ask, q.askAge = n.cur, 0
			if w.accepts && n.unstaged < n.cur-1 && (q.phase == joined || w.off("what is loaded needs a record")) {
				q.previous = n.cur - 1
			}
		})
	} else {
		do("first read", func(_ *state, q *inst) { w.took(q, q.ask, q.previous, true) })
	}
	for v := uint8(1); v < s.cur; v++ {
		if w.refuse || w.off("serve reads the primary first") {
			do("stale first read", func(_ *state, q *inst) {
				q.ask, q.askAge = v, 0
				w.took(q, v, 0, w.off("a stale read confirms nothing"))
			})
		}
	}
}

// took has a process take its first version into use.
func (w *world) took(q *inst, v, previous uint8, confirms bool) {
	f := q.fence()
	if previous > 0 {
		f.Loaded()
		q.acc = previous
		if w.off("what is loaded counts from the renewal") || w.off("what is loaded needs a record") {
			f.Others = clock(q.askAge)
		}
	}
	f.Switched(ids[v])
	if confirms {
		f.Read(ids[v], clock(q.askAge))
	}
	q.ver, q.phase, q.ask, q.previous = v, up, 0, 0
	q.keep(f)
}

// running is a process that uses a version.
func (w *world) running(i int, s state, do change) {
	p := s.in[i]
	if p.ask == 0 {
		do("ask the primary", func(n *state, q *inst) { q.ask, q.askAge = n.cur, 0 })
	} else {
		do("answer of the primary", func(_ *state, q *inst) { w.answer(q, w.accepts) })
		if w.accepts && p.ask > p.ver {
			do("answer of the primary, nothing else is accepted", func(_ *state, q *inst) { w.answer(q, false) })
		}
	}
	if p.ask > p.ver {
		do("answer of the primary, a hook refuses the version", func(_ *state, q *inst) {
			f := q.fence()
			if f.Read(ids[q.ask], clock(q.askAge)); w.off("a read confirms only what it calls current") {
				f.Read(f.InUse, clock(q.askAge))
			}
			q.ask = 0
			q.keep(f)
		})
	}
	if p.acc != 0 {
		do("drop what is accepted", func(_ *state, q *inst) {
			f := q.fence()
			f.Dropped()
			q.acc = 0
			q.keep(f)
		})
	}
	if (p.record != 1+p.ver || p.recAcc != p.acc) && (!w.full || p.rec != 0) && (p.cas == 1 || w.off("uses are written after the join")) {
		do("write use", func(_ *state, q *inst) { w.write(q, true) })
		do("write use, the answer is lost", func(_ *state, q *inst) { w.write(q, false) })
	}
	if w.off("the record follows the switch") && p.ask > p.ver && p.cas == 1 {
		do("write use of what was not taken yet", func(_ *state, q *inst) { q.rec, q.recAcc, q.record = 1+q.ask, 0, 1+q.ask })
	}
}

// answer takes what the primary said. An answer about an older version than the one
// in use was overtaken.
func (w *world) answer(q *inst, accepts bool) {
	v := q.ask
	q.ask = 0
	if v < q.ver {
		return
	}
	f := q.fence()
	if v > q.ver {
		old := q.ver
		f.Switched(ids[v])
		if q.acc = 0; accepts {
			q.acc = old
		} else {
			f.Dropped()
		}
	}
	f.Read(ids[v], clock(q.askAge))
	q.ver = v
	q.keep(f)
}

// network carries a renewal and its answer, late or not at all.
func (w *world) network(i int, s state, do change) {
	p := s.in[i]
	switch {
	case p.phase == fresh:
	case p.renewal == 0 && p.cas == 1:
		do("send a renewal", func(_ *state, q *inst) {
			q.renewal, q.renewalAge = sent, 0
			if f := q.fence(); w.off("a renewal counts when its answer arrives in time") && f.Usable(clock(0)) && f.Record == f.InUse {
				q.previous = 1 // it would count if it arrived at once
			}
		})
	case p.renewal == 0 && p.phase != alone:
		do("join again", func(_ *state, q *inst) { w.join(q) })
	case p.renewal == 0 && !w.full:
		do("join late", func(_ *state, q *inst) { w.join(q) })
	case p.renewal == sent:
		do("store the renewal", func(_ *state, q *inst) { w.renew(q) })
		do("lose the renewal", func(_ *state, q *inst) { q.renewal = 0 })
	case p.renewal == stored:
		do("acknowledge the renewal", func(_ *state, q *inst) { w.acknowledge(q) })
		do("lose the acknowledgement", func(_ *state, q *inst) { q.renewal, q.cas = 0, 0 })
	case p.renewal == refused:
		do("refuse the renewal", func(_ *state, q *inst) {
			f := q.fence()
			f.Refused()
			q.renewal, q.cas = 0, 0
			q.keep(f)
		})
	}
}

// renew is the server's part: compare and set.
func (w *world) renew(q *inst) {
	if q.present == 0 && !w.off("renewal by compare-and-set") {
		q.renewal = refused
		return
	}
	q.present, q.renewed, q.renewal = 1, 0, stored
	if q.purge == 1 && !w.off("the presence is purged first") {
		q.purge = 0
	}
}

func (w *world) acknowledge(q *inst) {
	f := q.fence()
	if w.off("a renewal only extends") || q.previous == 1 {
		f.Confirmed = clock(q.renewalAge)
	}
	if w.off("the own record is acknowledged") {
		f.Recorded, f.Record = true, f.InUse
	}
	f.Renewed(clock(q.renewalAge), clock(0))
	q.renewal, q.previous = 0, 0
	q.keep(f)
}
