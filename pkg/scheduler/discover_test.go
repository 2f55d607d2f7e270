package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

func TestDiscoveredSecretsAreScheduled(t *testing.T) {
	t.Parallel()
	s := newShop()
	s.put(t, "a", "managed=true", "services=api billing", "grace=1h", "deadline=none")
	s.put(t, "deep/b", "managed=true", "id=B", "ttl=1h")
	s.put(t, "foreign")
	s.put(t, "out", "managed=false", "ttl=1h")
	s.put(t, "listed", "managed=true", "ttl=7d")
	m := newMall(t, []secret.Spec{{ID: "LISTED", Store: "main", Path: "listed", TTL: time.Hour}}, map[string]*shop{"main": s})
	r := m.sweep()
	m.wantArmed("B", "LISTED", "a")
	if r.Discovered != 2 || r.Armed != 3 || r.Secrets[scheduler.ReasonScheduled] != 3 || r.Findings[catalog.CodeConflict] != 1 {
		t.Errorf("the first sweep: %+v", r)
	}
	last, err := m.bus.Last(t.Context(), events.TypeDiscovered, "a")
	if err != nil {
		t.Fatal(err)
	}
	spec, ok := last.Event.Data.Spec()
	if !ok || spec.Store != "main" || spec.Path != "a" || !slices.Equal(spec.Services, []string{"api", "billing"}) || spec.GracePeriod() != time.Hour || spec.RolloutDeadline() != 0 {
		t.Errorf("the log says %+v", spec)
	}
	timer, err := m.bus.Timer(t.Context(), events.TypeNearExpiry, "B")
	if err != nil || time.Until(timer.At) > time.Hour {
		t.Errorf("the tag's TTL does not hold: %s, err %v", timer.At, err)
	}

	s.take()
	if r := m.sweep(); r.Discovered+r.Armed+r.Announced+r.Gone != 0 {
		t.Errorf("a sweep of what has not changed: %+v", r)
	}
	if calls := s.take(); !maps.Equal(calls, map[string]int{"list": 1}) {
		t.Errorf("it costs %v, want one list", calls)
	}
	s.tag("a", "managed=true", "services=api")
	if r := m.sweep(); r.Discovered != 1 {
		t.Errorf("other services are not said: %+v", r)
	}
	if n := strings.Count(m.log.String(), "msg=discovery.problem"); n != 1 {
		t.Errorf("the conflict is logged %d times, want once:\n%s", n, m.log)
	}
}

func TestASecretThatIsNotFoundAnyMoreIsDisarmed(t *testing.T) {
	t.Parallel()
	s := newShop()
	for _, path := range []string{"deleted", "untagged", "renamed", "stays"} {
		s.put(t, path, "managed=true")
	}
	s.put(t, "quiet", "managed=true", "disabled=true")
	m := newMall(t, nil, map[string]*shop{"main": s})
	m.sweep()
	m.wantArmed("deleted", "renamed", "stays", "untagged")
	s.Delete("deleted")
	s.Delete("quiet")
	s.tag("untagged", "ttl=1h")
	s.tag("renamed", "managed=true", "id=NEW")
	m.restart() // one that was not there before knows it from the log
	if r := m.sweep(); r.Gone != 4 {
		t.Errorf("%d are gone, want 4", r.Gone)
	}
	m.wantArmed("NEW", "stays")
	for id, want := range map[secret.ID]string{"deleted": "", "untagged": "", "renamed": "", "quiet": "", "NEW": "main:renamed", "stays": "main:stays"} {
		if got := m.where(id); got != want {
			t.Errorf("%s is at %q, want %q", id, got, want)
		}
	}
	s.put(t, "deleted", "managed=true")
	m.sweep()
	m.wantArmed("NEW", "deleted", "stays")
}

// TestNothingIsConcludedFromABadListing: one that breaks off, one that is empty
// because it failed, one that leaves out what is there.
func TestNothingIsConcludedFromABadListing(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken off")
	for name, c := range map[string]struct {
		list func(iter.Seq2[secret.Metadata, error]) iter.Seq2[secret.Metadata, error]
		err  error
	}{
		"broken off": {func(all iter.Seq2[secret.Metadata, error]) iter.Seq2[secret.Metadata, error] {
			return func(yield func(secret.Metadata, error) bool) {
				for m, err := range all {
					if !yield(m, err) {
						return
					}
					yield(secret.Metadata{}, broken)
					return
				}
			}
		}, broken},
		"failed": {func(iter.Seq2[secret.Metadata, error]) iter.Seq2[secret.Metadata, error] {
			return func(yield func(secret.Metadata, error) bool) { yield(secret.Metadata{}, broken) }
		}, broken},
		"behind": {func(iter.Seq2[secret.Metadata, error]) iter.Seq2[secret.Metadata, error] {
			return func(func(secret.Metadata, error) bool) {}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop()
			s.put(t, "a", "managed=true")
			s.put(t, "b", "managed=true")
			m := newMall(t, nil, map[string]*shop{"main": s})
			m.sweep()
			for range 2 { // with what the scheduler remembers, and without
				s.list = c.list
				s.take()
				r, err := m.s.Sweep(t.Context())
				if !errors.Is(err, c.err) || r.Gone != 0 {
					t.Errorf("err %v, gone %d", err, r.Gone)
				}
				if n := s.take()["describe"]; c.err != nil && n != 0 {
					t.Errorf("a store that fails is asked %d times more", n)
				}
				m.wantArmed("a", "b")
				if m.where("a") != "main:a" || m.where("b") != "main:b" {
					t.Error("they are not where they were")
				}
				s.list = nil
				m.restart()
			}
			s.Delete("b")
			m.sweep()
			m.wantArmed("a")
		})
	}
}

// TestOneIdIsOneSecret: a secret that has an id keeps it, and one that is listed in the
// configuration always has it.
func TestOneIdIsOneSecret(t *testing.T) {
	t.Parallel()
	first, second := newShop(), newShop()
	first.put(t, "one", "managed=true", "id=SHARED")
	second.put(t, "own", "managed=true", "id=LISTED")
	m := newMall(t, []secret.Spec{{ID: "LISTED", Store: "first", Path: "listed"}}, map[string]*shop{"first": first, "second": second})
	m.sweep()
	second.put(t, "other", "managed=true", "id=SHARED")
	first.put(t, "a", "managed=true", "id=SHARED", "ttl=1h")
	for range 2 { // also for a scheduler that has seen none of it
		r := m.sweep()
		if r.Secrets[scheduler.ReasonCollision] != 3 || r.Findings[catalog.CodeCollision] != 3 {
			t.Errorf("collisions: %+v", r)
		}
		m.wantArmed("SHARED")
		if got := m.where("SHARED"); got != "first:one" {
			t.Errorf("the id went to %s", got)
		}
		m.restart()
	}
	if !strings.Contains(m.log.String(), "the id LISTED belongs to listed in the store first") {
		t.Errorf("it is not said who has the id:\n%s", m.log)
	}
	first.Delete("one")
	first.Delete("a")
	m.sweep()
	m.sweep()
	if got := m.where("SHARED"); got != "second:other" {
		t.Errorf("the id that became free is at %q", got)
	}
	m.wantArmed("SHARED")
}

// TestManyClaimOneId lets everybody claim an id in the same sweep.
func TestManyClaimOneId(t *testing.T) {
	t.Parallel()
	s := newShop()
	for i := range 50 {
		s.put(t, fmt.Sprint("claim/", i), "managed=true", "id=SHARED")
	}
	m := newMall(t, nil, map[string]*shop{"main": s})
	if r := m.sweep(); r.Discovered != 1 || r.Secrets[scheduler.ReasonScheduled] != 1 || r.Secrets[scheduler.ReasonCollision] != 49 {
		t.Errorf("got %+v", r)
	}
}

func TestInvalidTagsTakeASecretOutOfTheSchedule(t *testing.T) {
	t.Parallel()
	s := newShop()
	s.put(t, "a", "managed=true", "services=api")
	s.put(t, "b", "managed=true")
	s.put(t, "c", "managed=true", "id=not\tan id")
	m := newMall(t, nil, map[string]*shop{"main": s})
	m.sweep()
	m.wantArmed("a", "b")
	s.tag("a", "managed=true", "services=other", "ttl=soon")
	for range 3 {
		r := m.sweep()
		if r.Secrets[scheduler.ReasonInvalid] != 2 || r.Findings[catalog.CodeInvalidTag] != 2 {
			t.Errorf("got %+v", r)
		}
	}
	m.wantArmed("b")
	spec, ok := func() (secret.Spec, bool) {
		last, err := m.bus.Last(t.Context(), events.TypeDiscovered, "a")
		if err != nil {
			t.Fatal(err)
		}
		return last.Event.Data.Spec()
	}()
	if !ok || spec.Services[0] != "api" {
		t.Errorf("a rollout that is under way has lost its services: %+v", spec)
	}
	if n := strings.Count(m.log.String(), `path=a secret_id=a problem="rotator:ttl: \"soon\" is not a duration"`); n != 1 {
		t.Errorf("it is said %d times, want once:\n%s", n, m.log)
	}
	if got := m.gauge("rotator.discovery.problems", "kind", "invalid_tag"); got != 2 {
		t.Errorf("the metric says %d", got)
	}
	s.tag("a", "managed=true", "ttl=2h")
	s.Delete("c")
	m.sweep()
	m.wantArmed("a", "b")
	if got := m.gauge("rotator.discovery.problems", "kind", "invalid_tag") + m.gauge("rotator.secrets", "reason", "invalid_tags"); got != 0 {
		t.Errorf("once mended the metrics say %d", got)
	}
}

// TestADeadStoreDelaysNoOther: while one store does not answer, this sweep and
// those that follow do their work on the others.
func TestADeadStoreDelaysNoOther(t *testing.T) {
	t.Parallel()
	dead, live := newShop(), newShop()
	dead.put(t, "d", "managed=true")
	live.put(t, "a", "managed=true")
	asked, answer := make(chan struct{}), make(chan struct{})
	dead.list = func(all iter.Seq2[secret.Metadata, error]) iter.Seq2[secret.Metadata, error] {
		return func(yield func(secret.Metadata, error) bool) {
			close(asked)
			<-answer
			all(yield)
		}
	}
	m := newMall(t, nil, map[string]*shop{"dead": dead, "live": live})
	first := make(chan error, 1)
	go func() {
		_, err := m.s.Sweep(t.Context())
		first <- err
	}()
	<-asked
	m.until("a")
	live.put(t, "b", "managed=true")
	m.sweep()
	m.wantArmed("a", "b")
	close(answer)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	m.wantArmed("a", "b", "d")
}

// TestAFailedStoreIsSweptAgainAlone: the error of one store is that of the
// sweep, with the others done; the repetition asks the one that failed.
func TestAFailedStoreIsSweptAgainAlone(t *testing.T) {
	t.Parallel()
	sick, well := newShop(), newShop()
	sick.put(t, "s", "managed=true")
	well.put(t, "w", "managed=true")
	var mu sync.Mutex
	failures := 2
	sick.list = func(all iter.Seq2[secret.Metadata, error]) iter.Seq2[secret.Metadata, error] {
		return func(yield func(secret.Metadata, error) bool) {
			mu.Lock()
			fails := failures > 0
			failures--
			mu.Unlock()
			if fails {
				yield(secret.Metadata{}, store.ErrUnavailable)
				return
			}
			all(yield)
		}
	}
	m := newMall(t, nil, map[string]*shop{"sick": sick, "well": well})
	well.take()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.s.Run(ctx) }()
	m.until("s", "w")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := well.take()["list"]; n != 1 {
		t.Errorf("the store that was well was listed %d times, want once", n)
	}
}
