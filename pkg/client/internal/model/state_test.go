//go:build !race

package model

import (
	"cmp"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/client/internal/fence"
	"github.com/tradepulse/rotator/pkg/secret"
)

// The units of a world. A fence of two ticks ends after two ticks for an instance
// whose clock is slow, and before the third for the server.
const (
	tick    = time.Minute
	length  = 2 * tick
	lease   = tick
	never   = 3 // an age that no rule tells from a larger one
	maxInst = 3
)

// The phases of an instance.
const (
	fresh  = iota // has no use record
	joined        // its empty use record was acknowledged
	alone         // goes on without one
	up            // uses a version
)

// A renewal on its way.
const (
	sent = iota + 1
	stored
	refused
)

// inst is one incarnation: what the process knows, then what the server stores of
// it. Ages are in ticks, at most never. Versions count from 1; 0 is none.
type inst struct {
	phase, ver, acc             uint8 // acc is the version that is accepted besides ver
	confirmed, others, presence uint8 // ages of the fence's times
	record                      uint8 // 0: not recorded, 1+version
	cas                         uint8 // 1 while it knows the sequence of its presence
	ask, askAge                 uint8 // an answer of the primary on its way, and how old the question is
	renewal, renewalAge         uint8

	rec, recAcc uint8 // 0: no use record, 1+version
	renewed     uint8 // age of the presence
	present     uint8
	purge       uint8 // 1: decided, 2: the presence is gone
	ended       uint8 // 1 when the process has ended
	previous    uint8 // the version before that the answer names
	gone        uint8 // 1 when an operator's word says that it has ended or moved, and it has not
	named       uint8 // 1 when an emergency said that it breaks it
}

// state is one state of a world. It is comparable, and small.
type state struct {
	in [maxInst]inst

	cur, dead, promoted, began, lost uint8 // current, last retired, ages of the promotion and of the stream
	unstaged                         uint8 // the last version that no reader gets as previous any more
	work                             [2]uint8

	// The log's last rollout event, and the ghosts that judge a retirement: ticks
	// since the log last said that the version has not converged, and whether it said
	// draining since.
	of, is, since, converged uint8
	calm, drained            uint8
	pend, pendAge            [2]uint8 // a notifier's decision that is not published yet

	made, pending uint8    // versions made from each version, two bits each; the pending one
	from          [2]uint8 // the version that a worker rotates away from

	urgent, heard       uint8    // 1 when the rollout is that of an emergency, when the fleet was heard from once
	paused, mine, given uint8    // what people do: 1 while paused, whose the pending value is; the last version they supplied one after
	kind, held          [2]uint8 // the cause of a worker's rotation; 1 when it was paused at the read
}

func older(age *uint8, by uint8) { *age = min(*age+by, never) }

// tick lets one unit of time pass.
func (s *state) tick(w *world) {
	for i := range s.in {
		p := &s.in[i]
		if w.plain && s.in[i].ended == 0 {
			continue
		}
		for _, age := range []*uint8{&p.confirmed, &p.others, &p.presence, &p.askAge, &p.renewalAge, &p.renewed} {
			older(age, 1)
		}
		p.rest()
		w.runsOut(p)
	}
	defer s.declared(w)
	for _, age := range []*uint8{&s.promoted, &s.began, &s.since, &s.converged, &s.calm, &s.pendAge[0], &s.pendAge[1]} {
		older(age, 1)
	}
}

// rest makes what no rule reads any more zero, so that equal states are equal.
func (p *inst) rest() {
	if p.ask == 0 {
		p.askAge = 0
	}
	if p.renewal == 0 || p.renewal == refused {
		p.renewalAge = 0
	}
	if p.present == 0 {
		p.renewed = 0
	}
	if p.acc == 0 {
		p.others = 0
	}
}

// sorted returns the state with instances of the same kind, notifiers and workers
// in one order: they are interchangeable.
func (w *world) sorted(s state) state {
	if !w.tellsApart {
		for i := range w.n {
			for j := i; j > 0 && w.kind[j] == w.kind[j-1] && lessInst(s.in[j], s.in[j-1]); j-- {
				s.in[j], s.in[j-1] = s.in[j-1], s.in[j]
			}
		}
	}
	if s.work[0] < s.work[1] {
		s.work[0], s.work[1] = s.work[1], s.work[0]
	}
	if s.pend[0]*4+s.pendAge[0] < s.pend[1]*4+s.pendAge[1] {
		s.pend[0], s.pend[1], s.pendAge[0], s.pendAge[1] = s.pend[1], s.pend[0], s.pendAge[1], s.pendAge[0]
	}
	if a, b := [3]uint8{s.from[0], s.kind[0], s.held[0]}, [3]uint8{s.from[1], s.kind[1], s.held[1]}; slices.Compare(a[:], b[:]) < 0 {
		s.from[0], s.kind[0], s.held[0] = b[0], b[1], b[2]
		s.from[1], s.kind[1], s.held[1] = a[0], a[1], a[2]
	}
	return s
}

func lessInst(a, b inst) bool {
	x := [...]uint8{a.phase, a.ver, a.acc, a.confirmed, a.others, a.presence, a.record, a.cas, a.ask, a.askAge, a.renewal, a.renewalAge, a.rec, a.recAcc, a.renewed, a.present, a.purge, a.previous, a.ended, a.gone, a.named}
	y := [...]uint8{b.phase, b.ver, b.acc, b.confirmed, b.others, b.presence, b.record, b.cas, b.ask, b.askAge, b.renewal, b.renewalAge, b.rec, b.recAcc, b.renewed, b.present, b.purge, b.previous, b.ended, b.gone, b.named}
	return slices.CompareFunc(x[:], y[:], cmp.Compare) < 0
}

var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now   = epoch.Add(24 * time.Hour)
	ids   = [...]secret.VersionID{"", "v1", "v2", "v3", "v4", "v5"}
)

// ago returns the server's time so many ticks before now.
func ago(age uint8) time.Time { return now.Add(-time.Duration(age) * tick) }

// clock returns what the slow clock of a process read so many of the server's ticks
// before now.
func clock(age uint8) fence.Clock {
	d := 24*time.Hour - time.Duration(age)*tick*99/100
	return fence.Clock{Boot: d, Wall: epoch.Add(d)}
}

// reading is clock for an age that may mean that nothing happened.
func reading(age uint8) fence.Clock {
	if age >= never {
		return fence.Clock{}
	}
	return clock(age)
}

// ageOf is the inverse of reading.
func ageOf(c fence.Clock) uint8 {
	if c == (fence.Clock{}) {
		return never
	}
	return uint8(min(never, (24*time.Hour-c.Boot)/(tick*99/100)))
}

// fence returns what the process knows, for the rules of the client.
func (p *inst) fence() fence.Fence {
	f := fence.Fence{Length: length}
	f.InUse, f.Accepts = ids[p.ver], p.acc != 0
	f.Confirmed, f.Presence = reading(p.confirmed), reading(p.presence)
	if f.Accepts {
		f.Others = reading(p.others)
	}
	if p.record > 0 {
		f.Recorded, f.Record = true, ids[p.record-1]
	}
	return f
}

// keep takes back what the rules of the client made of the fence.
func (p *inst) keep(f fence.Fence) {
	p.confirmed, p.others, p.presence = ageOf(f.Confirmed), ageOf(f.Others), ageOf(f.Presence)
	p.record = 0
	if f.Recorded {
		p.record = 1 + uint8(slices.Index(ids[:], f.Record))
	}
	p.rest()
}
