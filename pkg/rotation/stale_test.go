package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/target"
)

// lagging is a store with a replica that answers everything but writes, and that
// is some writes behind for a while after each.
type lagging struct {
	*storetest.Mem
	behind int           // so many writes
	lag    time.Duration // for so long after the last one
	wrote  time.Time
	past   []secret.Metadata // :: after each write
	hide   secret.VersionID  // is not listed
}

// noted keeps what the store holds after a write that changed something.
func (l *lagging) noted(ctx context.Context, path string, err error) {
	m, derr := l.Mem.Describe(ctx, path)
	if n := len(l.past); err == nil && derr == nil && (n == 0 || !slices.Equal(l.past[n-1].Versions, m.Versions)) {
		l.past, l.wrote = append(l.past, m), time.Now()
	}
}

func (l *lagging) Describe(ctx context.Context, path string) (secret.Metadata, error) {
	if time.Since(l.wrote) >= l.lag {
		m, err := l.Mem.Describe(ctx, path)
		m.Versions = slices.DeleteFunc(m.Versions, func(v secret.Version) bool { return v.ID == l.hide })
		return m, err
	}
	if i := len(l.past) - 1 - l.behind; i >= 0 {
		return l.past[i], nil
	}
	return secret.Metadata{}, fmt.Errorf("%w: not yet", store.ErrNotFound)
}

func (l *lagging) Get(ctx context.Context, path string, sel store.Selector) (secret.Version, secret.Value, error) {
	if sel.Version != "" && sel.Version == l.hide {
		return l.Mem.Get(ctx, path, sel)
	}
	m, err := l.Describe(ctx, path)
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	v, err := sel.Find(m)
	if err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	_, value, err := l.Mem.Get(ctx, path, store.Selector{Version: v.ID})
	return v, value, err
}

func (l *lagging) Put(ctx context.Context, path string, w store.Write) (secret.Version, error) {
	v, err := l.Mem.Put(ctx, path, w)
	l.noted(ctx, path, err)
	return v, err
}

// Promote looks for the version where reads are answered, and writes where the
// truth is, as a driver with two calls does.
func (l *lagging) Promote(ctx context.Context, path string, from, to secret.VersionID) error {
	m, err := l.Describe(ctx, path)
	if err != nil {
		return err
	}
	if _, ok := m.Version(to); !ok {
		return fmt.Errorf("%w: no version %s", store.ErrNotFound, to)
	}
	err = l.Mem.Promote(ctx, path, from, to)
	l.noted(ctx, path, err)
	return err
}

// behind returns a worker on a store that lags.
func behind(t *testing.T, l *lagging) *Rotator {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	l.Mem = storetest.NewMem(time.Now)
	st, err := store.New("mem", l, &store.Options{Logger: quiet, Circuit: store.Circuit{Failures: -1}})
	if err != nil {
		t.Fatal(err)
	}
	stores, err := store.NewSet(st)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.New(catalog.Config{Stores: stores, Specs: []secret.Spec{{ID: simID, Store: "mem", Create: true, TTL: time.Hour}}})
	if err != nil {
		t.Fatal(err)
	}
	bus := &simBus{w: &world{t: t, calm: true, say: func(string, ...any) {}}}
	r, err := New(Config{Catalog: cat, Stores: stores, Bus: bus, Timers: bus, Source: "/test", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (l *lagging) versions(t *testing.T) []secret.Version {
	t.Helper()
	m, err := l.Mem.Describe(t.Context(), string(simID))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return m.Versions
}

// TestRotationsOnAStoreThatShowsThePast: with a replica that is some writes and
// some seconds behind every rotation succeeds at the first try, and each request has
// one version.
func TestRotationsOnAStoreThatShowsThePast(t *testing.T) {
	t.Parallel()
	const n = 200
	for writes := 1; writes <= 3; writes++ {
		t.Run(fmt.Sprint(writes, " writes behind"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &lagging{behind: writes}
				r := behind(t, l)
				rng := rand.New(rand.NewPCG(uint64(writes), 1))
				var from secret.VersionID
				for i := range n {
					l.lag = time.Duration(rng.Int64N(int64(2 * time.Second)))
					out, err := r.Rotate(t.Context(), Try{Request: Request{Secret: simID, From: from, Reason: events.ReasonManual}})
					if err != nil || out == OutcomeSuperseded {
						t.Fatalf("rotation %d: %q, %v", i, out, err)
					}
					all := l.versions(t)
					if len(all) != i+1 {
						t.Fatalf("rotation %d made %d versions of %d causes", i, len(all), i+1)
					}
					if from = (secret.Metadata{Versions: all}).Current().ID; from == "" {
						t.Fatalf("rotation %d promoted nothing", i)
					}
					time.Sleep(2 * time.Second)
				}
			})
		})
	}
}

// TestAnAnswerFromThePastIsNeverFinal: a store that shows the past for longer than
// a run reads again makes it fail. It is tried again with the same token, and ends
// with the version of the first try once the store shows it.
func TestAnAnswerFromThePastIsNeverFinal(t *testing.T) {
	t.Parallel()
	for name, phase := range map[string]Phase{
		"of what the run has written":        PhaseWhole,
		"of what the run before has written": PhaseCreate,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &lagging{behind: 1, lag: time.Hour}
				r := behind(t, l)
				try := Try{Request: Request{Secret: simID, Reason: events.ReasonManual}}
				if phase != PhaseWhole {
					if _, err := r.Rotate(t.Context(), Try{Request: try.Request, Phase: phase}); err != nil {
						t.Fatal(err)
					}
				}
				for range maxRejections + 1 {
					begin := time.Now()
					_, err := r.Rotate(t.Context(), try)
					if err == nil || events.IsPermanent(err) || errors.Is(err, target.ErrRejected) {
						t.Fatalf("err %v, want one that is tried again with the same value", err)
					}
					if took := time.Since(begin); took < 5*time.Second {
						t.Errorf("it gave up after %s", took)
					}
					try.Retry.Attempt++
				}
				l.lag = 0
				if _, err := r.Rotate(t.Context(), try); err != nil {
					t.Fatal(err)
				}
				if all := l.versions(t); len(all) != 1 || all[0].Token != (state{spec: secret.Spec{ID: simID, Store: "mem", Create: true, TTL: time.Hour}, try: try}).token() {
					t.Errorf("%d versions of one request", len(all))
				}
			})
		})
	}
}

// TestAPauseEndsWithItsContext: a run that waits to read again does not outlive
// what called it.
func TestAPauseEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := behind(t, &lagging{behind: 1, lag: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		_, err := r.Rotate(ctx, Try{Request: Request{Secret: simID, Reason: events.ReasonManual}})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > time.Second {
			t.Errorf("err %v after %s", err, time.Since(begin))
		}
	})
}

// TestASpentTokenGivesWay: another writer replaces the pending version and goes away,
// more often than a value may be refused. The rotation takes a fresh token each time.
func TestASpentTokenGivesWay(t *testing.T) {
	t.Parallel()
	for name, listed := range map[string]bool{"the store lists the version": true, "the store gives it by its id only": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &lagging{}
				r := behind(t, l)
				try := Try{Request: Request{Secret: simID, Reason: events.ReasonManual}}
				for n := range maxRejections {
					if _, err := r.Rotate(t.Context(), Try{Request: try.Request, Phase: PhaseCreate}); err != nil {
						t.Fatal(err)
					}
					ours, _ := secret.Metadata{Versions: l.versions(t)}.At(secret.StagePending)
					theirs, err := l.Put(t.Context(), string(simID), store.Write{Token: secret.NewToken("theirs", "", "", n), Value: secret.NewValue([]byte("Value-Of-Theirs-1!")), Replace: ours.ID})
					if err == nil {
						err = l.Retire(t.Context(), string(simID), theirs.ID, secret.RetireDelete)
					}
					if err != nil {
						t.Fatal(err)
					}
					if !listed {
						l.hide = ours.ID
					}
				}
				if out, err := r.Rotate(t.Context(), try); err != nil || out != OutcomeRotated {
					t.Errorf("with the fresh token: %q, %v", out, err)
				}
			})
		})
	}
}
