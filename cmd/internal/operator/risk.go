package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Risk is whom the end of every version of a secret but its next one concerns, as the
// fleet stands.
type Risk struct {
	// Live is how many instances are live: they reload first.
	Live int `json:"live"`
	// Breaks are those that an emergency does not wait for.
	Breaks []events.Blocker `json:"breaks,omitempty"`
	// Holds are those that are waited for without end: until they are heard of,
	// forgotten, or confirmed.
	Holds []events.Blocker `json:"holds,omitempty"`
	// Unjoined are services of which an instance that starts meanwhile may use an older
	// version.
	Unjoined []string `json:"unjoined,omitempty"`
	// Unknown says why the fleet may be incomplete.
	Unknown string `json:"unknown,omitempty"`
}

// riskOf asks the fleet about a version that no instance has yet.
func riskOf(ctx context.Context, p *wire.Parts, spec secret.Spec) (Risk, error) {
	fleet, err := p.Bus.Fleet(ctx, spec.ID)
	if err != nil {
		return Risk{}, err
	}
	confirmed, err := p.Bus.Confirmations(ctx, spec.ID, spec.Proof.Consumers)
	if err != nil {
		return Risk{}, err
	}
	s := rollout.Question{Spec: spec, VersionID: "(next)", Promoted: fleet.At, Confirmed: confirmed, Emergency: true}.Ask(fleet)
	r := Risk{Live: s.Instances[rollout.InstanceLive], Breaks: s.Breaks, Unjoined: s.Unjoined, Unknown: s.Unknown}
	for _, b := range s.Blocking {
		if b.Reason != events.BlockOldVersion {
			r.Holds = append(r.Holds, b)
		}
	}
	return r, nil
}

// lines says a risk, a line for each of those concerned.
func (r Risk) lines() (breaks, holds []string) {
	for _, b := range r.Breaks {
		breaks = append(breaks, inspect.Blocked(b))
	}
	if len(r.Unjoined) > 0 {
		breaks = append(breaks, "an instance of "+strings.Join(slices.Clone(r.Unjoined), ", ")+" that starts meanwhile without the bus")
	}
	for _, b := range r.Holds {
		holds = append(holds, inspect.Blocked(b))
	}
	if r.Unknown != "" {
		holds = append(holds, r.Unknown)
	}
	return breaks, holds
}

// Warning says before an emergency what it does, and whom it may break.
func (e *Emergency) Warning() string {
	var b, breaks, holds strings.Builder
	live, again := 0, 0
	for _, i := range e.items {
		live += i.Risk.Live
		if !i.DeclaredAt.IsZero() {
			again++
		}
		bs, hs := i.Risk.lines()
		for _, line := range bs {
			fmt.Fprintf(&breaks, "  %s: %s\n", i.SecretID, line)
		}
		for _, line := range hs {
			fmt.Fprintf(&holds, "  %s: %s\n", i.SecretID, line)
		}
	}
	fmt.Fprintf(&b, "%s: without grace period, overlap or floor, %d secrets will rotate at once,\nand the old versions will be destroyed.", e.Why.Ticket, len(e.items))
	if again > 0 {
		fmt.Fprintf(&b, " An earlier run has begun %d of them.", again)
	}
	fmt.Fprintf(&b, "\nUses by live instances that are replaced first: %d.\n", live)
	if breaks.Len() > 0 {
		b.WriteString("May break, because they are not waited for:\n" + breaks.String())
	} else {
		b.WriteString("By the records of the fleet, no instance breaks.\n")
	}
	if holds.Len() > 0 {
		b.WriteString("Keep an old version alive until they are dealt with:\n" + holds.String())
	}
	return b.String()
}
