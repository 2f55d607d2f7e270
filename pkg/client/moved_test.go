package client_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// place is a Source whose secrets are at one path. Places may have versions of one id.
type place struct {
	path string
	at   atomic.Pointer[placed]
	// entered receives at each read while it is not nil, and the read waits for goOn.
	entered, goOn chan struct{}
}

type placed struct {
	id    secret.VersionID
	value string
}

func newPlace(path string, id secret.VersionID, value string) *place {
	p := &place{path: path}
	p.set(id, value)
	return p
}

func (p *place) set(id secret.VersionID, value string) { p.at.Store(&placed{id, value}) }

func (p *place) Spec(id secret.ID) (secret.Spec, error) {
	return secret.Spec{ID: id, Store: "mem", Path: p.path}, nil
}

func (*place) Describe(context.Context, secret.ID) (secret.Metadata, error) {
	return secret.Metadata{}, errors.ErrUnsupported
}

func (p *place) Read(_ context.Context, _ secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	if p.entered != nil {
		p.entered <- struct{}{}
		<-p.goOn
	}
	if sel.Stage == secret.StagePrevious {
		return secret.Version{}, secret.Value{}, store.ErrNotFound
	}
	at := p.at.Load()
	return secret.Version{ID: at.id, Stage: secret.StageCurrent, CreatedAt: time.Now().Add(-time.Hour)}, secret.NewValue([]byte(at.value)), nil
}

// movable returns a Manager of the key, which is at the first place, and what moves it
// to the second one.
func movable(t *testing.T, from, to client.Source) (m *client.Manager, move func() error) {
	t.Helper()
	m, err := client.New(t.Context(), client.Config{
		Service: "api", Source: from, IDs: []secret.ID{key}, PollInterval: -1, Retry: time.Second, Logger: quiet,
		Reconfigure: func(context.Context) (client.Set, error) { return client.Set{Source: to, IDs: []secret.ID{key}}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.WithoutCancel(t.Context())) }) // a second time in some tests
	return m, func() error { return m.Reload(t.Context()) }
}

// TestAMoveToAVersionOfTheSameID: every user takes the value of the new place, and none
// keeps that of the old one.
func TestAMoveToAVersionOfTheSameID(t *testing.T) {
	t.Parallel()
	m, move := movable(t, newPlace("old", "1", "the-old-value"), newPlace("new", "1", "the-new-value"))
	a, err := client.NewTokenAuthenticator(t.Context(), m, key, "admin", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	k, err := client.NewKeyring(t.Context(), m, key, client.KeysAcceptLive, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := move(); err != nil {
		t.Fatal(err)
	}
	if accepted(t, a, "the-old-value") || !accepted(t, a, "the-new-value") {
		t.Errorf("the old token is accepted: %t, the new one: %t", accepted(t, a, "the-old-value"), accepted(t, a, "the-new-value"))
	}
	if got := string(current(t, k).Value.Reveal()); got != "the-new-value" || value(m.Secret(key).Get()) != got {
		t.Errorf("the ring signs with %s, and %s is in use", got, value(m.Secret(key).Get()))
	}
}

// TestAnUpdaterTakesTheValueOfTheNewPlace, also if it has made one of a version of the
// same id that another hook refused.
func TestAnUpdaterTakesTheValueOfTheNewPlace(t *testing.T) {
	t.Parallel()
	from := newPlace("old", "1", "the-old-value")
	m, move := movable(t, from, newPlace("new", "2", "the-new-value"))
	u, err := client.NewUpdater(t.Context(), m, key, func(_ context.Context, c client.Change) (string, error) { return string(c.Value.Reveal()), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if _, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		if string(c.Value.Reveal()) == "refused-value" {
			return errors.New("not this one")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	from.set("2", "refused-value")
	if err := m.Refresh(t.Context(), key); err == nil {
		t.Fatal("the version is not refused")
	}
	if err := move(); err != nil {
		t.Fatal(err)
	}
	if err := u.Use(func(got string) error {
		if got != "the-new-value" {
			t.Errorf("the Updater uses %s", got)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestAReadThatBeganBeforeAMoveCountsForNothing when it is answered while a read of the
// new place is under way.
func TestAReadThatBeganBeforeAMoveCountsForNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from, to := newPlace("old", "o-1", "the-old-value"), newPlace("new", "n-1", "the-new-value")
		m, move := movable(t, from, to)
		time.Sleep(time.Minute)
		refresh := func(p *place) {
			p.entered, p.goOn = make(chan struct{}), make(chan struct{})
			go m.Refresh(t.Context(), key) //nolint:errcheck // what is in use is looked at
			<-p.entered
		}
		refresh(from)
		if err := move(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		refresh(to)
		close(from.goOn)
		synctest.Wait()
		close(to.goOn)
		synctest.Wait()
		if got := value(m.Secret(key).Get()); got != "the-new-value" {
			t.Errorf("in use is %s", got)
		}
	})
}

// TestAVersionThatWaitedForAMoveIsNotOffered: it was read at the old place, and hooks
// take that of the new one meanwhile.
func TestAVersionThatWaitedForAMoveIsNotOffered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		from := newPlace("old", "1", "the-old-value")
		m, move := movable(t, from, newPlace("new", "1", "the-new-value"))
		taken, goOn := make(chan string, 9), make(chan struct{})
		if _, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
			taken <- string(c.Value.Reveal())
			if string(c.Value.Reveal()) == "the-new-value" {
				<-goOn
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		from.set("2", "the-late-value")
		moved := make(chan error, 1)
		go func() { moved <- move() }()
		synctest.Wait()
		go m.Refresh(t.Context(), key) //nolint:errcheck // as above
		synctest.Wait()
		close(goOn)
		if err := <-moved; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(taken)
		var got []string
		for value := range taken {
			got = append(got, value)
		}
		if want := []string{"the-old-value", "the-new-value"}; !slices.Equal(got, want) {
			t.Errorf("the hook was called with %q, want %q", got, want)
		}
	})
}

// TestAMoveThatAHookRefuses: the hooks before it have the version in use again, also if
// that of the new place has the same id.
func TestAMoveThatAHookRefuses(t *testing.T) {
	t.Parallel()
	for _, id := range []secret.VersionID{"1", "2"} {
		m, move := movable(t, newPlace("old", "1", "the-old-value"), newPlace("new", id, "the-new-value"))
		var uses atomic.Value
		for _, hook := range []client.Hook{
			func(_ context.Context, c client.Change) error { uses.Store(string(c.Value.Reveal())); return nil },
			func(_ context.Context, c client.Change) error {
				if string(c.Value.Reveal()) == "the-new-value" {
					return errors.New("not this one")
				}
				return nil
			},
		} {
			if _, err := m.Subscribe(t.Context(), key, hook); err != nil {
				t.Fatal(err)
			}
		}
		if err := move(); err == nil {
			t.Error("the move is not refused")
		}
		if uses.Load() != "the-old-value" || value(m.Secret(key).Get()) != "the-old-value" {
			t.Errorf("a hook uses %s, and in use is %s", uses.Load(), value(m.Secret(key).Get()))
		}
	}
}
