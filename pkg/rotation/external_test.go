package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// service is a store that has its secret rotated by a function, as AWS does: it
// registers the pending version, and what becomes of that is up to the function.
type service struct {
	*storetest.Mem
	t      *testing.T
	tokens []secret.Token // :: of each Trigger
	lost   int            // so many answers of Trigger are lost
}

func (s *service) Features() store.Features {
	f := s.Mem.Features()
	f.External = true
	return f
}

func (s *service) Trigger(ctx context.Context, path string, token secret.Token) error {
	s.tokens = append(s.tokens, token)
	m, err := s.Describe(ctx, path)
	if err != nil {
		return err
	}
	if _, ok := m.At(secret.StagePending); ok {
		return fmt.Errorf("%w: a previous rotation isn't complete", store.ErrPending)
	}
	if !slices.ContainsFunc(m.Versions, func(v secret.Version) bool { return v.Token == token }) {
		s.register(token)
	}
	if s.lost > 0 {
		s.lost--
		return fmt.Errorf("%w: the answer was lost", store.ErrUnavailable)
	}
	return nil
}

func (s *service) register(token secret.Token) {
	s.t.Helper()
	m := s.meta()
	if _, err := s.Put(s.t.Context(), "ID", store.Write{Token: token, From: m.Current().ID, Value: secret.NewValue([]byte("by the function")), Create: true}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) meta() secret.Metadata {
	m, err := s.Describe(s.t.Context(), "ID")
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.t.Fatal(err)
	}
	return m
}

// finish is the end of a function that succeeds.
func (s *service) finish() secret.VersionID {
	s.t.Helper()
	m := s.meta()
	p, ok := m.At(secret.StagePending)
	if !ok {
		s.t.Fatal("there is nothing to finish")
	}
	if err := s.Promote(s.t.Context(), "ID", m.Current().ID, p.ID); err != nil {
		s.t.Fatal(err)
	}
	return p.ID
}

// abandon is the end of a rotation that the service gives up.
func (s *service) abandon() {
	s.t.Helper()
	m := s.meta()
	if p, ok := m.At(secret.StagePending); ok {
		if err := s.Retire(s.t.Context(), "ID", p.ID, secret.RetireKeep); err != nil {
			s.t.Fatal(err)
		}
	}
}

// external is one secret that its service rotates.
type external struct {
	*service
	bus   *events.Bus
	rot   *Rotator
	spec  secret.Spec
	first secret.VersionID
	now   time.Time // :: of the store
	try   Try
}

func newExternal(t *testing.T) *external {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	x := &external{now: time.Now().Add(-2 * time.Hour), bus: eventstest.NewServer(t).NewBus(events.StreamOptions{Memory: true})}
	x.service = &service{t: t, Mem: storetest.NewMem(func() time.Time { return x.now })}
	x.spec = secret.Spec{ID: "ID", Store: "mem", Strategy: secret.StrategyExternal, TTL: time.Hour}
	st, err := store.New("mem", x.service, &store.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	catalog, stores := Configured(t, st, x.spec)
	if x.rot, err = New(Config{Catalog: catalog, Stores: stores, Bus: x.bus, Timers: x.bus, Source: "/test", Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	x.register(secret.NewToken("first", "", "", 0))
	x.first = x.finish()
	x.now = time.Now()
	x.try = tryOf(events.NearExpiry("/test", x.now, x.spec, x.meta()).Data)
	if _, err := x.bus.PublishAfter(t.Context(), events.Rotated("/test", x.now, events.Data{SecretID: "ID", VersionID: x.first}), 0); err != nil {
		t.Fatal(err)
	}
	return x
}

// rotate is one delivery of the request to a worker.
func (x *external) rotate() (Outcome, error) { return x.rot.Rotate(x.t.Context(), x.try) }

// again changes the try as the worker's retry does.
func (x *external) again(failed error) { x.try.Retry = nextRetry(x.try.Retry, failed) }

func (x *external) wantRunning() {
	x.t.Helper()
	out, err := x.rotate()
	if _, later := events.RetryDelay(err); !errors.Is(err, errRunning) || !later || events.IsPermanent(err) {
		x.t.Fatalf("outcome %q, err %v; want it to be looked at later", out, err)
	}
	x.again(err)
}

// wantAnnounced fails the test unless n versions after the first have been
// announced, the last of them v for the reason.
func (x *external) wantAnnounced(n uint64, v secret.VersionID, why events.Reason) {
	x.t.Helper()
	last, err := x.bus.Last(x.t.Context(), events.TypeRotated, "ID")
	if x.failedCode() != "" {
		n++ // which stands in the same log, once
	}
	if err != nil || last.Seq != n+1 && v != x.first || last.Event.Data.VersionID != v || last.Event.Data.Reason != why {
		x.t.Errorf("announcement %d is of %s (%s), err %v; want number %d of %s (%s)", last.Seq, last.Event.Data.VersionID, last.Event.Data.Reason, err, n+1, v, why)
	}
}

func (x *external) failedCode() events.FailureCode {
	x.t.Helper()
	last, err := x.bus.Last(x.t.Context(), events.TypeRotationFailed, "ID")
	if err != nil {
		x.t.Fatal(err)
	}
	if last.Event.Data.Failure == nil {
		return ""
	}
	return last.Event.Data.Failure.Code
}

func TestAnExternalRotationIsTriggeredFollowedAndAnnouncedOnce(t *testing.T) {
	t.Parallel()
	x := newExternal(t)
	for range 3 {
		x.wantRunning()
	}
	v := x.finish()
	for range 3 { // the event may be delivered again after its end
		if out, err := x.rotate(); err != nil || out != OutcomeFinished {
			t.Errorf("outcome %q, err %v; want %s", out, err, OutcomeFinished)
		}
	}
	if want := x.spec.Token(x.first, 0); !slices.Equal(x.tokens, []secret.Token{want}) || v != secret.VersionID(want) {
		t.Errorf("triggered as %v, made %s; want %s, once", x.tokens, v, want)
	}
	x.wantAnnounced(1, v, events.ReasonNearExpiry)
	if timer, err := x.bus.Timer(t.Context(), events.TypeNearExpiry, "ID"); err != nil || timer.Event.Data.VersionID != v {
		t.Errorf("armed for %s, err %v; want %s", timer.Event.Data.VersionID, err, v)
	}
	if got := x.failedCode(); got != "" {
		t.Errorf("a failure %s was announced", got)
	}
}

// TestAnExternalRotationSurvivesAKill ends the worker after each number of steps,
// and the function after each number of workers: the next worker continues.
func TestAnExternalRotationSurvivesAKill(t *testing.T) {
	t.Parallel()
	for killed := range 7 {
		for ended := range 4 {
			t.Run(fmt.Sprintf("killed after %d steps, ended before worker %d", killed, ended), func(t *testing.T) {
				t.Parallel()
				x := newExternal(t)
				done := false
				for worker := range 6 {
					if _, running := x.meta().At(secret.StagePending); running && worker >= ended && !done {
						x.finish()
						done = true
					}
					steps := killed
					if worker >= 4 {
						steps = 100 // these live
					}
					x.live(steps)
				}
				x.wantAnnounced(1, secret.VersionID(x.spec.Token(x.first, 0)), events.ReasonNearExpiry)
				for _, token := range x.tokens {
					if token != x.spec.Token(x.first, 0) {
						t.Errorf("triggered as %s, which is another rotation", token)
					}
				}
			})
		}
	}
}

// live takes at most n steps of a run and then dies: nothing is retried.
func (x *external) live(n int) {
	x.t.Helper()
	run := x.rot.newRun(x.try)
	for range n {
		out, err := run.step(x.t.Context())
		if err != nil && !errors.Is(err, errRunning) {
			x.t.Fatal(err)
		}
		if out != "" || err != nil {
			return
		}
	}
}

func TestALostAnswerTriggersNothingTwice(t *testing.T) {
	t.Parallel()
	x := newExternal(t)
	x.lost = 1
	_, err := x.rotate()
	if !errors.Is(err, store.ErrUnavailable) || events.IsPermanent(err) {
		t.Fatalf("err %v, want one that is tried again", err)
	}
	x.again(err)
	x.wantRunning()
	v := x.finish()
	if _, err := x.rotate(); err != nil {
		t.Fatal(err)
	}
	if len(x.tokens) != 1 {
		t.Errorf("triggered %d times, want once", len(x.tokens))
	}
	x.wantAnnounced(1, v, events.ReasonNearExpiry)
}

func TestAnExternalRotationThatIsGivenUpIsTriedAnewAndThenAnnounced(t *testing.T) {
	t.Parallel()
	x := newExternal(t)
	var err error
	for range 20 {
		if _, err = x.rotate(); events.IsPermanent(err) {
			break
		}
		x.again(err)
		x.abandon()
	}
	if !errors.Is(err, errQuarantined) {
		t.Fatalf("err %v, want quarantine", err)
	}
	if got := x.failedCode(); got != events.CodeQuarantined {
		t.Errorf("announced as %q", got)
	}
	seen := map[secret.Token]bool{}
	for _, token := range x.tokens {
		seen[token] = true
	}
	if len(seen) < 3 {
		t.Errorf("triggered as %v, want new tokens where one is spent", x.tokens)
	}
	x.wantAnnounced(0, x.first, "")
}

func TestAnExternalRotationThatDoesNotEndIsAnnouncedAndMendedByHand(t *testing.T) {
	t.Parallel()
	x := newExternal(t)
	x.now = time.Now().Add(-2 * DefaultExternalDeadline)
	x.try.At = x.now
	_, err := x.rotate()
	if !errors.Is(err, errStuck) || !events.IsPermanent(err) {
		t.Fatalf("err %v, want that it is stuck", err)
	}
	if got := x.failedCode(); got != events.CodeStuck {
		t.Errorf("announced as %q", got)
	}
	x.try = Try{Request: Request{Secret: "ID", Store: "mem", From: x.first, Reason: events.ReasonManual, At: time.Now()}}
	x.wantRunning() // triggered again, and with its own time
	if len(x.tokens) != 2 {
		t.Errorf("triggered %d times, want once more by hand", len(x.tokens))
	}
	v := x.finish()
	if _, err := x.rotate(); err != nil {
		t.Fatal(err)
	}
	x.wantAnnounced(1, v, events.ReasonManual)
}

func TestARotationThatTheStoreBeganIsFollowed(t *testing.T) {
	t.Parallel()
	x := newExternal(t)
	x.spec.TTL = 0
	x.register(secret.NewToken("another program", "", "", 0))
	x.wantRunning()
	v := x.finish()
	out, err := x.rotate()
	if err != nil || out != OutcomeSuperseded {
		t.Errorf("outcome %q, err %v; want %s", out, err, OutcomeSuperseded)
	}
	if len(x.tokens) != 0 {
		t.Errorf("triggered as %v while another rotation ran", x.tokens)
	}
	x.wantAnnounced(1, v, events.ReasonExternal)
}

func TestAnExternalSecretThatIsNotDueIsLeftAlone(t *testing.T) {
	t.Parallel()
	x := newExternal(t)
	x.register(secret.NewToken("a moment ago", "", "", 0))
	v := x.finish() // now
	x.try.From = v
	if out, err := x.rotate(); err != nil || out != OutcomeNotDue {
		t.Errorf("outcome %q, err %v; want %s", out, err, OutcomeNotDue)
	}
	if len(x.tokens) != 0 {
		t.Errorf("triggered as %v", x.tokens)
	}
}

func TestAStoreThatRunsNoRotationsIsRefused(t *testing.T) {
	t.Parallel()
	st, err := store.New("mem", storetest.NewMem(nil), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	_, err = catalog.New(catalog.Config{Stores: stores, Specs: []secret.Spec{{ID: "ID", Store: "mem", Strategy: secret.StrategyExternal}}})
	if !errors.Is(err, secret.ErrInvalidSpec) {
		t.Errorf("err %v, want that the spec is invalid", err)
	}
	if err := st.Trigger(t.Context(), "ID", secret.NewToken("ID", "", "", 0)); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("err %v, want that the request is invalid", err)
	}
}
