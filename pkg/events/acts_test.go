package events_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestActsAreAChain: of several writers at the same time, each act is stored once, names
// the one before, and verifies with nothing but itself.
func TestActsAreAChain(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	const people = 4
	var wg sync.WaitGroup
	for range people {
		wg.Go(func() {
			if err := b.RecordAct(t.Context(), events.Act{SecretID: "orders/db", Kind: events.ActRead, VersionID: "v1", By: "host/ada", At: time.Now()}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, err := b.Acts(t.Context(), "orders/db")
	if err != nil || len(all) != people {
		t.Fatalf("%d acts, %v, want %d", len(all), err, people)
	}
	var before string
	for i, text := range all {
		s, err := events.ParseSealed(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Key(); err != nil {
			t.Error(err)
		}
		var a events.Act
		if err := s.Open(events.SealedAct, &a); err != nil {
			t.Fatal(err)
		}
		switch {
		case i == 0 && a.Previous != nil:
			t.Errorf("the first act names %+v", a.Previous)
		case i > 0 && (a.Previous == nil || a.Previous.SHA256 != before):
			t.Errorf("act %d names %+v, want %s", i, a.Previous, before)
		}
		if before, err = s.Digest(); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := b.Acts(t.Context(), "orders/db-2"); err != nil || len(all) != 0 {
		t.Errorf("%d acts on another secret, %v", len(all), err)
	}
}

func TestAnActIsValidated(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	good := events.Act{SecretID: "orders/db", Kind: events.ActPut, By: "host/ada", Reason: "why", Ticket: "OPS-1", At: time.Now()}
	for name, change := range map[string]func(*events.Act){
		"no secret":         func(a *events.Act) { a.SecretID = "" },
		"unknown kind":      func(a *events.Act) { a.Kind = "borrow" },
		"nobody":            func(a *events.Act) { a.By = "" },
		"long reason":       func(a *events.Act) { a.Reason = strings.Repeat("x", 10_000) },
		"malformed version": func(a *events.Act) { a.VersionID = secret.VersionID("a b\n") },
	} {
		a := good
		change(&a)
		if err := b.RecordAct(t.Context(), a); err == nil {
			t.Errorf("%s: recorded", name)
		}
	}
	if all, err := b.Acts(t.Context(), "orders/db"); err != nil || len(all) != 0 {
		t.Errorf("%d acts, %v", len(all), err)
	}
}
