package rotation

import (
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// simPlatform drives rotations in phases beside the workers, as AWS Secrets
// Manager does: one at a time, each phase again until it succeeds, and now and
// then a phase out of order.
type simPlatform struct {
	w     *world
	token secret.Token // "" between two rotations
	next  int          // index in simPhases
	busy  bool         // a phase is under way
	ours  map[secret.Token]bool
}

var simPhases = []Phase{PhaseCreate, PhaseSet, PhaseTest, PhaseFinish}

// invoke begins the next phase, and first a rotation if there is none.
func (p *simPlatform) invoke() {
	w := p.w
	if p.busy || p.token == "" && w.calm {
		return
	}
	if p.token == "" {
		p.token, p.next = secret.NewToken("platform", "", "", w.rng.IntN(1<<30)), 0
		p.ours[p.token] = true
	}
	q, err := p.request()
	if err != nil {
		w.say("platform gives up %s: %v", short(secret.VersionID(p.token)), err)
		p.token = ""
		return
	}
	phase := simPhases[p.next]
	if !w.calm && w.chance(8) {
		phase = simPhases[w.rng.IntN(len(simPhases))]
	}
	try := Try{Request: q, Phase: phase}
	w.say("platform asks for %s of %s", phase, short(secret.VersionID(p.token)))
	p.busy = true
	w.flights = append(w.flights, &flight{try: try, run: w.rot.newRun(try)})
}

var errAbandoned = errors.New("the token names no pending version any more")

// request returns what a rotation function makes of the labels that it finds.
func (p *simPlatform) request() (Request, error) {
	defer func(calm bool) { p.w.calm = calm }(p.w.calm)
	p.w.calm = true
	q := Request{Secret: simID, Store: "mem", Reason: events.ReasonLambda, Token: p.token}
	meta, err := p.w.mem.Describe(p.w.t.Context(), p.w.spec.StorePath())
	if errors.Is(err, store.ErrNotFound) && p.w.spec.Create {
		return q, nil
	}
	if err != nil {
		return q, err
	}
	q.From = meta.Current().ID
	pending, stands := meta.At(secret.StagePending)
	switch v, ok := meta.Version(secret.VersionID(p.token)); {
	case !ok && stands && p.next == 0:
		return q, fmt.Errorf("%w: %s is pending", errAbandoned, pending.ID) // AWS would not begin
	case !ok && p.next == 0, v.Stage == secret.StagePending:
		return q, nil
	case v.Stage == secret.StageCurrent:
		previous, _ := meta.At(secret.StagePrevious)
		q.From = previous.ID
		return q, nil
	default:
		return q, errAbandoned
	}
}

// answered notes how a phase ended: a failure has it asked for again.
func (p *simPlatform) answered(f *flight, out Outcome, err error) {
	p.busy = false
	done := err == nil && (out == OutcomePhase || out == OutcomeRotated || out == OutcomeFinished)
	if !done || p.token != f.try.Token || f.try.Phase != simPhases[p.next] {
		return
	}
	if p.next++; p.next == len(simPhases) {
		p.token = ""
	}
}

// crash loses a phase: the platform gets no answer and asks again.
func (p *simPlatform) crash() { p.busy = false }
