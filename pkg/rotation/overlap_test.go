package rotation_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/target"
)

// pair is a target with room for two credentials that counts what it applies.
type pair struct {
	target.ValueOnly
	applied int
}

func (*pair) Capabilities() target.Capabilities {
	return target.Capabilities{Overlap: target.OverlapAlternate}
}

func (p *pair) Apply(context.Context, target.Change) (target.Ref, error) {
	p.applied++
	return target.Ref{}, nil
}

// newPair is a retirement, with a rotator besides whose target is p.
func newPair(t *testing.T) (retirement, *pair, *rotation.Rotator) {
	t.Helper()
	p := &pair{}
	var cfg rotation.Config
	x := newRetirement(t, func(c *rotation.Config) { cfg = *c })
	cfg.TargetFor = func(context.Context, secret.Spec) (target.Target, error) { return p, nil }
	r, err := rotation.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x, p, r
}

// TestTheThirdCredentialWaits: a target with room for two gets no third one while the
// version before the current one lives, not even between the loss of its stage and its
// revocation. Nothing is written to the store meanwhile.
func TestTheThirdCredentialWaits(t *testing.T) {
	t.Parallel()
	x, p, r := newPair(t)
	rotate := func() error {
		_, err := r.Rotate(t.Context(), rotation.Try{Request: rotation.Request{Secret: "ID", From: x.v2, Reason: events.ReasonManual}})
		return err
	}
	waits := func(when string) {
		t.Helper()
		err := rotate()
		if _, later := events.RetryDelay(err); err == nil || !later || !strings.Contains(err.Error(), "room for two") {
			t.Errorf("%s: %v, want that it waits", when, err)
		}
		m, err := x.st.Describe(t.Context(), "ID")
		if pending, ok := m.At(secret.StagePending); err != nil || ok || p.applied > 0 {
			t.Errorf("%s: pending %q, %d applied, %v", when, pending.ID, p.applied, err)
		}
	}
	waits("the version before is there")
	x.log(t, x.rollout(events.RolloutDraining, x.started))
	if err := x.st.RetireWhile(t.Context(), "ID", x.v1, secret.RetireKeep, x.v2); err != nil {
		t.Fatal(err)
	}
	waits("its stage is taken away, and it is not revoked")
	x.log(t, x.rollout(events.RolloutRetired, x.started))
	if err := rotate(); err != nil || p.applied != 1 {
		t.Errorf("after its retirement: %v, %d applied", err, p.applied)
	}
}

// TestAnEmergencyDoesNotWaitForRoom: the current value has leaked.
func TestAnEmergencyDoesNotWaitForRoom(t *testing.T) {
	t.Parallel()
	x, p, r := newPair(t)
	_, err := r.Rotate(t.Context(), rotation.Try{Request: rotation.Request{Secret: "ID", From: x.v2, Reason: events.ReasonEmergency}})
	if err != nil || p.applied != 1 {
		t.Errorf("%v, %d applied", err, p.applied)
	}
}

// TestARollbackHasRoom: a supplied value that is the older one's own takes the place of
// nothing; another one waits.
func TestARollbackHasRoom(t *testing.T) {
	t.Parallel()
	for name, own := range map[string]bool{"the value of the version before": true, "another value": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, p, r := newPair(t)
			_, v, err := x.st.Get(t.Context(), "ID", store.Selector{Version: x.v1})
			if err != nil {
				t.Fatal(err)
			}
			if !own {
				v = secret.NewValue([]byte("Another-Value-0123456789"))
			}
			token := secret.NewToken("ID", x.v2, name, 0)
			if _, err := x.st.Put(t.Context(), "ID", store.Write{Token: token, From: x.v2, Value: v}); err != nil {
				t.Fatal(err)
			}
			_, err = r.Rotate(t.Context(), rotation.Try{Request: rotation.Request{Secret: "ID", From: x.v2, Reason: events.ReasonSupplied, Token: token}})
			if own != (err == nil) || own != (p.applied == 1) {
				t.Errorf("%v, %d applied", err, p.applied)
			}
		})
	}
}

// TestNoThirdCredentialUntilTheLogSaysRetired: a retirement took the stage of the version
// before away and was blocked. Whatever the log says of its rollout after that, also where
// it was lost or cannot be trusted, only "retired" makes room. An emergency does not wait.
func TestNoThirdCredentialUntilTheLogSaysRetired(t *testing.T) {
	t.Parallel()
	falls := func(state events.RolloutState) func(*testing.T, retirement) {
		return func(t *testing.T, x retirement) {
			t.Helper()
			x.log(t, x.rollout(state, time.Time{}))
		}
	}
	for name, after := range map[string]func(*testing.T, retirement){
		"rolling":   falls(events.RolloutRolling),
		"stalled":   falls(events.RolloutStalled),
		"converged": falls(events.RolloutConverged),
		"waiting":   falls(events.RolloutWaiting),
		"about another version": func(t *testing.T, x retirement) {
			t.Helper()
			d := x.rollout(events.RolloutConverged, time.Time{})
			d.VersionID = "v9"
			x.log(t, d)
		},
		"signed by a key that is not trusted": func(t *testing.T, x retirement) {
			t.Helper()
			other, err := events.GenerateSigner()
			if err != nil {
				t.Fatal(err)
			}
			last, err := x.bus.Last(t.Context(), events.TypeRollout, "ID")
			if err != nil {
				t.Fatal(err)
			}
			e := rollout.Resume(x.rollout(events.RolloutRetired, time.Now())).Event("/other", rollout.Facts{})
			if _, err := x.srv.Bus(other, other).PublishAfter(t.Context(), e, last.Seq); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, p, r := newPair(t)
			x.runs(t, "two", x.v1)
			d := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
			x.log(t, d)
			x.blocked(t, d, "runs_other_version")
			after(t, x)
			try := rotation.Try{Request: rotation.Request{Secret: "ID", From: x.v2, Reason: events.ReasonManual}}
			_, err := r.Rotate(t.Context(), try)
			if _, later := events.RetryDelay(err); err == nil || !later || !strings.Contains(err.Error(), "room for two") || p.applied > 0 {
				t.Errorf("%v, %d applied; want that it waits", err, p.applied)
			}
			try.Reason = events.ReasonEmergency
			if _, err := r.Rotate(t.Context(), try); err != nil || p.applied != 1 {
				t.Errorf("an emergency: %v, %d applied", err, p.applied)
			}
		})
	}
}
