package rotation

import (
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// simPeople are the operators of a simulation: they pause and resume scheduled rotations,
// ask for a rotation or declare an emergency, and roll back to the value before.
type simPeople struct {
	ours map[secret.Token]secret.VersionID // :: the pending versions of rollbacks
	// leaked are the versions that people declared an emergency about, since the bus
	// forgot.
	leaked []secret.VersionID
	err    error // what a worker did that it may not
}

func (p *simPeople) act(w *world) {
	switch n := w.rng.IntN(4); n {
	case 0:
		w.paused = !w.paused
		w.say("paused: %v", w.paused)
	case 1:
		p.rollback(w)
	default:
		p.ask(w, []events.Reason{2: events.ReasonManual, 3: events.ReasonEmergency}[n])
	}
}

// describe returns what the store has; people see no fault.
func (p *simPeople) describe(w *world) (secret.Metadata, bool) {
	defer func(calm bool) { w.calm = calm }(w.calm)
	w.calm = true
	m, err := w.mem.Describe(w.t.Context(), w.spec.StorePath())
	return m, err == nil && m.Current().ID != ""
}

// ask has the current version replaced, as the commands do.
func (p *simPeople) ask(w *world, why events.Reason) {
	m, ok := p.describe(w)
	if !ok {
		return
	}
	q, err := Manual(time.Now(), "sim", w.spec, m, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	q.Reason = why
	w.say("asked to rotate %s: %s", short(q.From), why)
	if why == events.ReasonEmergency {
		p.leaked = append(p.leaked, q.From)
	}
	w.bus.queue = append(w.bus.queue, events.Delivery{Event: q.Event("/sim/cli")})
}

// rollback makes the value before the pending one, as the command does, and asks for it.
func (p *simPeople) rollback(w *world) {
	m, ok := p.describe(w)
	previous, before := m.At(secret.StagePrevious)
	if _, pending := m.At(secret.StagePending); !ok || !before || previous.Empty || pending {
		return
	}
	defer func(calm bool) { w.calm = calm }(w.calm)
	w.calm = true
	_, value, err := w.mem.Get(w.t.Context(), w.spec.StorePath(), store.Selector{Version: previous.ID})
	if err != nil {
		w.t.Fatal(err)
	}
	from := m.Current().ID
	token := secret.NewToken("a person", from, "", w.rng.IntN(1<<30))
	v, err := w.mem.Put(w.t.Context(), w.spec.StorePath(), store.Write{Token: token, From: from, Value: value})
	if err != nil {
		w.t.Fatal(err)
	}
	if p.ours == nil {
		p.ours = map[secret.Token]secret.VersionID{}
	}
	p.ours[token] = v.ID
	q := Supplied(time.Now(), "sim", "", w.spec, m, token)
	w.say("rolls back to the value of %s as %s", short(previous.ID), short(v.ID))
	w.bus.queue = append(w.bus.queue, events.Delivery{Event: q.Event("/sim/cli")})
}

// rolledBack counts the versions of rollbacks that became current.
func (p *simPeople) rolledBack(w *world) int {
	n := 0
	for _, v := range p.ours {
		if slices.Contains(w.order, v) {
			n++
		}
	}
	return n
}

// stepped holds that a scheduled rotation which read that it has to wait makes no value,
// that what people ask for, emergencies too, waits for no pause and no time, and that a
// rollback makes no value of its own.
func (p *simPeople) stepped(f *flight, step string, out Outcome, paused bool) {
	s := f.run.state
	switch asked := s.requested(); {
	case f.try.Phase != PhaseWhole || f.try.From == "":
	case step == stepRead:
		f.held = paused && !asked && !s.hasPending()
	case asked && (out == OutcomePaused || out == OutcomeNotDue):
		p.err = fmt.Errorf("a rotation away from %s that was asked for (%s) ended as %s", f.try.From, f.try.Reason, out)
	case step == stepCreate && f.held:
		p.err = fmt.Errorf("a scheduled rotation away from %s began while it was paused", f.try.From)
	case step == stepCreate && f.try.Reason == events.ReasonSupplied && s.pending.ID != "" && s.pending.ID != p.ours[f.try.Token]:
		p.err = fmt.Errorf("a rollback away from %s made a value of its own", f.try.From)
	}
}
