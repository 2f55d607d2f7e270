package rotation_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// paused is a bus that calls then once the fleet was read: as long as a worker may
// be paused between its proof and what it does about it.
type paused struct {
	*events.Bus
	then func()
}

func (p *paused) Fleet(ctx context.Context, id secret.ID) (events.Fleet, error) {
	f, err := p.Bus.Fleet(ctx, id)
	if do := p.then; do != nil {
		p.then = nil
		do()
	}
	return f, err
}

// TestAPausedWorkerDoesNotActOnALaterState: between the proof about version 2 and
// the retirement another worker makes version 3 current. The proof says nothing
// about that state.
func TestAPausedWorkerDoesNotActOnALaterState(t *testing.T) {
	t.Parallel()
	bus := &paused{}
	x := newRetirement(t, func(c *rotation.Config) {
		bus.Bus = c.Bus.(*events.Bus)
		c.Bus = bus
	})
	order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	x.log(t, order)
	var late error
	bus.then = func() {
		v3, err := x.mem.Put(t.Context(), "ID", store.Write{Token: "third", From: x.v2, Value: secret.NewValue([]byte("Value-Of-Three-0!"))})
		late = errors.Join(err, x.mem.Promote(t.Context(), "ID", x.v2, v3.ID))
		x.probe.calls = nil
	}
	if err := x.retire(t, order); !errors.Is(err, store.ErrConflict) || late != nil {
		t.Errorf("retire: %v, want a conflict; the later promotion: %v", err, late)
	}
	if calls := strings.Join(x.probe.calls, " "); strings.Contains(calls, "revoke") {
		t.Errorf("the target was asked to %s", calls)
	}
	if _, _, err := x.st.Get(t.Context(), "ID", store.Selector{Version: x.v1}); err != nil {
		t.Errorf("version 1 was removed on a proof about version 2: %v", err)
	}
	if err := x.retire(t, order); err != nil {
		t.Errorf("once more: %v, want that the order is superseded", err)
	}
}
