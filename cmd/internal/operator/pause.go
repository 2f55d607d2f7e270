package operator

import (
	"context"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/events"
)

// Pause has scheduled rotations of the picked secrets wait, or go on, and returns what
// is on record of each then. One that is in that state already keeps its record.
func Pause(ctx context.Context, p *wire.Parts, k Pick, paused bool, why Why) ([]events.Pause, error) {
	specs, err := k.Specs(ctx, p)
	if err != nil {
		return nil, err
	}
	kind := events.ActResume
	if paused {
		kind = events.ActPause
	}
	var out []events.Pause
	for _, spec := range specs {
		last, err := p.Bus.Pause(ctx, spec.ID)
		if err == nil && last.Paused == paused {
			last.SecretID = spec.ID // one that was never paused has no record
			out = append(out, last)
			continue
		}
		if err := record(ctx, p, kind, spec.ID, "", why); err != nil {
			return out, err
		}
		one := events.Pause{SecretID: spec.ID, Paused: paused, By: p.Source + "/" + why.by(), Reason: why.Reason, Ticket: why.Ticket, At: time.Now()}
		if err := p.Bus.SetPause(ctx, one); err != nil {
			return out, err
		}
		out = append(out, one)
	}
	return out, nil
}
