package rotation

import (
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// simPlatform is somebody who drives rotations in parts beside the workers, as
// AWS Secrets Manager does: one at a time, each part again until it succeeds,
// in order but for a part now and then that is out of it.
type simPlatform struct {
	w     *world
	token secret.Token // "" between two rotations
	next  int          // index in parts
	busy  bool         // a part is under way
	ours  map[secret.Token]bool
}

var simParts = []Part{PartCreate, PartApply, PartVerify, PartFinish}

// invoke begins the next part, and first a rotation if there is none.
func (p *simPlatform) invoke() {
	w := p.w
	if p.busy || p.token == "" && w.calm {
		return
	}
	if p.token == "" {
		p.token, p.next = secret.NewToken("platform", "", "", w.rng.IntN(1<<30)), 0
		p.ours[p.token] = true
	}
	cause, err := p.cause()
	if err != nil {
		w.say("platform gives up %s: %v", short(secret.VersionID(p.token)), err)
		p.token = ""
		return
	}
	part := simParts[p.next]
	if !w.calm && w.chance(8) {
		part = simParts[w.rng.IntN(len(simParts))]
	}
	run, err := w.rot.BeginPart(w.t.Context(), cause, part)
	if err != nil {
		w.t.Fatal(err)
	}
	w.say("platform asks for %s of %s", part, short(secret.VersionID(p.token)))
	p.busy = true
	w.flights = append(w.flights, &flight{d: events.Delivery{Event: events.Event{Data: cause}}, part: part, run: run})
}

var errAbandoned = errors.New("the token names no pending version any more")

// cause returns what a rotation function makes of the labels that it finds.
func (p *simPlatform) cause() (events.Data, error) {
	defer func(calm bool) { p.w.calm = calm }(p.w.calm)
	p.w.calm = true
	d := events.Data{SecretID: simID, Store: "mem", Reason: events.ReasonLambda, RotationID: p.token}
	meta, err := p.w.mem.Describe(p.w.t.Context(), p.w.spec.StorePath())
	if errors.Is(err, store.ErrNotFound) && p.w.spec.Create {
		return d, nil
	}
	if err != nil {
		return d, err
	}
	d.VersionID = meta.Current().ID
	pending, stands := meta.At(secret.StagePending)
	switch v, ok := meta.Version(secret.VersionID(p.token)); {
	case !ok && stands && p.next == 0:
		return d, fmt.Errorf("%w: %s is pending", errAbandoned, pending.ID) // AWS would not begin
	case !ok && p.next == 0, v.Stage == secret.StagePending:
		return d, nil
	case v.Stage == secret.StageCurrent:
		previous, _ := meta.At(secret.StagePrevious)
		d.VersionID = previous.ID
		return d, nil
	default:
		return d, errAbandoned
	}
}

// answered notes how a part ended: a failure has it asked for again.
func (p *simPlatform) answered(f *flight, out Outcome, err error) {
	p.busy = false
	done := err == nil && (out == OutcomePart || out == OutcomeRotated || out == OutcomeFinished)
	if !done || p.token != f.d.Event.Data.RotationID || f.part != simParts[p.next] {
		return
	}
	if p.next++; p.next == len(simParts) {
		p.token = ""
	}
}

// crash loses a part: the platform hears of nothing and asks again.
func (p *simPlatform) crash() { p.busy = false }
