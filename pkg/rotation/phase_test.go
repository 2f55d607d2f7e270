package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/target"
)

// phases is one secret whose rotation is taken in phases.
type phases struct {
	t      *testing.T
	bus    *events.Bus
	st     *store.Store
	rot    *rotation.Rotator
	target *countingTarget
	token  secret.Token
	first  secret.VersionID
}

// countingTarget counts what it is asked to do.
type countingTarget struct {
	target.ValueOnly
	applied, verified int
}

func (c *countingTarget) Apply(context.Context, target.Change) (target.Ref, error) {
	c.applied++
	return target.Ref{}, nil
}

func (c *countingTarget) Verify(context.Context, target.Change) error { c.verified++; return nil }

func newPhases(t *testing.T, firstValue string) *phases {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	p := &phases{t: t, target: &countingTarget{}, bus: eventstest.NewServer(t).NewBus(events.StreamOptions{}), token: secret.NewToken("platform", "", "", 0)}
	var err error
	if p.st, err = store.New("mem", storetest.NewMem(nil), &store.Options{Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	catalog, stores := rotation.Configured(t, p.st, secret.Spec{ID: "ID", Store: "mem"})
	p.rot, err = rotation.New(rotation.Config{
		Catalog: catalog, Stores: stores, Bus: p.bus, Timers: p.bus, Source: "/test", Logger: quiet,
		TargetFor: func(context.Context, secret.Spec) (target.Target, error) { return p.target, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.first = p.put(secret.NewToken("first", "", "", 0), "", firstValue)
	if err := p.st.Promote(t.Context(), "ID", "", p.first); err != nil {
		t.Fatal(err)
	}
	return p
}

// put writes a pending version past the rotator.
func (p *phases) put(token secret.Token, from secret.VersionID, value string) secret.VersionID {
	p.t.Helper()
	v, err := p.st.Put(p.t.Context(), "ID", store.Write{Token: token, From: from, Value: secret.NewValue([]byte(value)), Create: true})
	if err != nil {
		p.t.Fatal(err)
	}
	return v.ID
}

func (p *phases) take(phase rotation.Phase) (rotation.Outcome, error) {
	q := rotation.Request{Secret: "ID", Store: "mem", From: p.first, Token: p.token, Reason: events.ReasonLambda}
	return p.rot.Rotate(p.t.Context(), rotation.Try{Request: q, Phase: phase})
}

// expect holds the current version, the calls of the target and whether
// anything has been announced.
func (p *phases) expect(when string, current secret.VersionID, applied, verified int, announced secret.VersionID) {
	p.t.Helper()
	m, err := p.st.Describe(p.t.Context(), "ID")
	if err != nil {
		p.t.Fatal(err)
	}
	last, err := p.bus.Last(p.t.Context(), events.TypeRotated, "ID")
	if err != nil {
		p.t.Fatal(err)
	}
	got := fmt.Sprint(m.Current().ID, p.target.applied, p.target.verified, last.Event.Data.VersionID)
	if want := fmt.Sprint(current, applied, verified, announced); got != want {
		p.t.Errorf("%s: current, applied, verified, announced: %s, want %s", when, got, want)
	}
}

const fits = "A1-fits-the-policy"

// TestPhases takes a rotation in phases, each of them twice, and holds what each
// changes.
func TestPhases(t *testing.T) {
	t.Parallel()
	p := newPhases(t, fits)
	next := secret.VersionID(p.token)
	for _, s := range []struct {
		phase     rotation.Phase
		want      rotation.Outcome
		current   secret.VersionID
		applied   int
		verified  int
		announced secret.VersionID
	}{
		{rotation.PhaseSet, rotation.OutcomeNoPending, p.first, 0, 0, ""},
		{rotation.PhaseTest, rotation.OutcomeNoPending, p.first, 0, 0, ""},
		{rotation.PhaseFinish, rotation.OutcomeNoPending, p.first, 0, 0, ""},
		{rotation.PhaseCreate, rotation.OutcomePhase, p.first, 0, 0, ""},
		{rotation.PhaseCreate, rotation.OutcomePhase, p.first, 0, 0, ""},
		{rotation.PhaseTest, rotation.OutcomePhase, p.first, 0, 1, ""},
		{rotation.PhaseSet, rotation.OutcomePhase, p.first, 1, 1, ""},
		{rotation.PhaseSet, rotation.OutcomePhase, p.first, 2, 1, ""},
		{rotation.PhaseTest, rotation.OutcomePhase, p.first, 2, 2, ""},
		{rotation.PhaseFinish, rotation.OutcomeRotated, next, 3, 3, next},
		{rotation.PhaseFinish, rotation.OutcomeFinished, next, 3, 3, next},
		{rotation.PhaseCreate, rotation.OutcomeFinished, next, 3, 3, next},
	} {
		out, err := p.take(s.phase)
		if err != nil || out != s.want {
			t.Errorf("%s: %q, %v; want %q", s.phase, out, err, s.want)
		}
		p.expect(string(s.phase), s.current, s.applied, s.verified, s.announced)
	}
}

// TestFinishVerifies: the caller that drives the phases may leave out the
// verification; a value that breaks the policy is not promoted all the same.
func TestFinishVerifies(t *testing.T) {
	t.Parallel()
	p := newPhases(t, fits)
	p.put(p.token, p.first, "weak")
	if out, err := p.take(rotation.PhaseFinish); !errors.Is(err, target.ErrRejected) {
		t.Errorf("finish: %q, %v; want ErrRejected", out, err)
	}
	p.expect("finish", p.first, 1, 0, p.first) // the version before was healed, nothing else was announced
}

// TestTrial: AWS tries a configuration out by testSecret alone, against a copy
// of the current value. That one may be older than the policy.
func TestTrial(t *testing.T) {
	t.Parallel()
	p := newPhases(t, "weak")
	p.put(p.token, p.first, "weak")
	if out, err := p.take(rotation.PhaseTest); out != rotation.OutcomePhase || err != nil {
		t.Errorf("verify a copy of the current value: %q, %v", out, err)
	}
	p.expect("verify", p.first, 0, 1, "")
	p = newPhases(t, "also weak")
	p.put(p.token, p.first, "weak")
	if out, err := p.take(rotation.PhaseTest); !errors.Is(err, target.ErrRejected) {
		t.Errorf("verify another value: %q, %v; want ErrRejected", out, err)
	}
}
