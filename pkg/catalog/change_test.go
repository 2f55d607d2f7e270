package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

func configured(id secret.ID, path string) catalog.Entry {
	return catalog.Entry{Spec: secret.Spec{ID: id, Store: "main", Path: path, Services: []string{"configured"}}, Origin: catalog.Configured}
}

func discovered(id secret.ID, path string, services ...string) catalog.Entry {
	return catalog.Entry{Spec: secret.Spec{ID: id, Store: "main", Path: path, Services: services, Grace: time.Hour}, Origin: catalog.Discovered}
}

// TestReplace: the configuration takes over what was discovered, and never the
// other way round.
func TestReplace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, then catalog.Entry
		taken       bool
		ids         []secret.ID // after it, with the path of each in main
		at          map[string]secret.ID
	}{
		"the same id at the same place": {configured("A", "a"), configured("A", "a"), false, []secret.ID{"A"}, map[string]secret.ID{"a": "A"}},
		"the same id elsewhere":         {configured("A", "a"), configured("A", "b"), false, []secret.ID{"A"}, map[string]secret.ID{"b": "A", "a": ""}},
		"another id, configured":        {configured("A", "a"), configured("B", "a"), true, []secret.ID{"A"}, map[string]secret.ID{"a": "A"}},
		"a discovered id, configured":   {discovered("A", "a"), configured("A", "b"), false, []secret.ID{"A"}, map[string]secret.ID{"b": "A", "a": ""}},
		"a discovered place configured": {discovered("A", "a"), configured("B", "a"), false, []secret.ID{"B"}, map[string]secret.ID{"a": "B"}},
		"a configured id, discovered":   {configured("A", "a"), discovered("A", "b"), true, []secret.ID{"A"}, map[string]secret.ID{"a": "A", "b": ""}},
		"a configured place discovered": {configured("A", "a"), discovered("B", "a"), true, []secret.ID{"A"}, map[string]secret.ID{"a": "A"}},
		"a discovered secret moved":     {discovered("A", "a"), discovered("A", "b"), false, []secret.ID{"A"}, map[string]secret.ID{"b": "A", "a": ""}},
		"a discovered secret renamed":   {discovered("A", "a"), discovered("B", "a"), false, []secret.ID{"A", "B"}, map[string]secret.ID{"a": "B"}},
	} {
		cat, err := catalog.New(catalog.Config{})
		if err == nil {
			err = cat.Add(c.first)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := cat.Replace(c.then); errors.Is(err, catalog.ErrTaken) != c.taken {
			t.Errorf("%s: %v", name, err)
		}
		var ids []secret.ID
		for e := range cat.Entries() {
			ids = append(ids, e.Spec.ID)
		}
		if !slices.Equal(ids, c.ids) {
			t.Errorf("%s: the entries are %v, want %v", name, ids, c.ids)
		}
		for path, want := range c.at {
			if e, _ := cat.At("main", path); e.Spec.ID != want {
				t.Errorf("%s: at %s is %q, want %q", name, path, e.Spec.ID, want)
			}
		}
	}
}

// TestARenamedSecretKeepsItsOldEntryUntilItIsGone: the rollout of the old id still
// needs its services.
func TestARenamedSecretKeepsItsOldEntryUntilItIsGone(t *testing.T) {
	t.Parallel()
	cat, err := catalog.New(catalog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []catalog.Entry{discovered("OLD", "a", "api"), discovered("NEW", "a", "api")} {
		if err := cat.Replace(e); err != nil {
			t.Fatal(err)
		}
	}
	if spec, ok := cat.Spec("OLD"); !ok || !slices.Equal(spec.Services, []string{"api"}) {
		t.Errorf("the old id is %+v", spec)
	}
	if !cat.Remove("OLD", catalog.Discovered) || cat.Remove("OLD", catalog.Discovered) {
		t.Error("it is not removed once")
	}
	if e, ok := cat.At("main", "a"); !ok || e.Spec.ID != "NEW" {
		t.Errorf("at its place is %+v", e)
	}
}

func TestRemoveLeavesAnotherOriginAlone(t *testing.T) {
	t.Parallel()
	cat, err := catalog.New(catalog.Config{Specs: []secret.Spec{{ID: "A", Store: "main"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := cat.Lookup("A"); cat.Remove("A", catalog.Discovered) || !ok {
		t.Error("a configured secret was removed as a discovered one")
	}
}

// TestEntriesAreWhatWasPutIn: that a million secrets share their settings does not
// show.
func TestEntriesAreWhatWasPutIn(t *testing.T) {
	t.Parallel()
	windows, err := secret.ParseWindows("Sat 01:00 6h")
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.New(catalog.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[secret.ID]catalog.Entry{}
	for i, change := range []func(*secret.Spec){
		func(*secret.Spec) {}, func(s *secret.Spec) { s.Services = []string{"b"} }, func(s *secret.Spec) { s.Services = nil },
		func(s *secret.Spec) { s.Grace = -1 }, func(s *secret.Spec) { s.Deadline = time.Hour }, func(s *secret.Spec) { s.TTL = time.Hour },
		func(s *secret.Spec) { s.RefreshMargin = -1 }, func(s *secret.Spec) { s.MaxJitter = -1 }, func(s *secret.Spec) { s.Windows = windows },
		func(s *secret.Spec) { s.Policy = &secret.Policy{MinLength: 20} }, func(s *secret.Spec) { s.Retire = secret.RetireKeep },
		func(s *secret.Spec) { s.Rollout = secret.RolloutPrepare }, func(s *secret.Spec) { s.Create = true }, func(s *secret.Spec) { s.Disabled = true },
		func(s *secret.Spec) { s.Store = "other" }, func(s *secret.Spec) { s.Strategy = secret.StrategyExternal }, func(s *secret.Spec) { s.Path = "" },
	} {
		for _, origin := range []catalog.Origin{catalog.Configured, catalog.Discovered} {
			id := secret.ID(fmt.Sprint(origin, i))
			e := catalog.Entry{Spec: secret.Spec{ID: id, Store: "main", Path: "at/" + string(id), Services: []string{"a"}}, Origin: origin}
			change(&e.Spec)
			if err := cat.Add(e); err != nil {
				t.Fatal(err)
			}
			want[id] = e
		}
	}
	got := map[secret.ID]catalog.Entry{}
	for e := range cat.Entries() {
		got[e.Spec.ID] = e
		if again, ok := cat.At(e.Spec.Store, e.Spec.StorePath()); !ok || again.Spec.ID != e.Spec.ID {
			t.Errorf("%s is not at its place", e.Spec.ID)
		}
	}
	if same := func(a, b catalog.Entry) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }; !maps.EqualFunc(got, want, same) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cat, err := catalog.New(catalog.Config{Specs: []secret.Spec{{ID: "BEFORE", Store: "main"}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		changes := cat.Watch(ctx)
		if err := errors.Join(cat.Add(configured("A", "a")), cat.Replace(configured("A", "b")), cat.Add(discovered("B", "c"))); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		got := map[secret.ID]int{}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for id := range changes {
				mu.Lock()
				got[id]++
				mu.Unlock()
			}
		}()
		expect := func(want map[secret.ID]int) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		expect(map[secret.ID]int{"A": 1, "B": 1})
		if !cat.Remove("B", catalog.Discovered) {
			t.Error("it cannot be removed")
		}
		expect(map[secret.ID]int{"A": 1, "B": 2})
		if cat.Remove("C", catalog.Discovered) || cat.Add(configured("A", "d")) == nil {
			t.Error("what must not change has changed")
		}
		expect(map[secret.ID]int{"A": 1, "B": 2})
		cancel()
		<-done
	})
}

// TestAConfiguredSecretThatTakesAPlaceIsAChangeOfBoth: the discovered one is gone.
func TestAConfiguredSecretThatTakesAPlaceIsAChangeOfBoth(t *testing.T) {
	t.Parallel()
	cat, err := catalog.New(catalog.Config{})
	if err == nil {
		err = cat.Add(discovered("A", "a"))
	}
	if err != nil {
		t.Fatal(err)
	}
	changes := cat.Watch(t.Context())
	if err := cat.Replace(configured("B", "a")); err != nil {
		t.Fatal(err)
	}
	var got []secret.ID
	for id := range changes {
		if got = append(got, id); len(got) == 2 {
			break
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, []secret.ID{"A", "B"}) {
		t.Errorf("got %v", got)
	}
}

func TestEntriesChangeWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	cat, err := catalog.New(catalog.Config{Discoveries: []*catalog.Discovery{discovery()}})
	if err != nil {
		t.Fatal(err)
	}
	changes := cat.Watch(t.Context())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				id := secret.ID(fmt.Sprintf("S%d", (i+w)%10))
				if err := cat.Replace(discovered(id, "apps/"+string(id), "api")); err != nil {
					t.Error(err)
				}
				if spec, ok := cat.Spec(id); ok && (spec.ID != id || spec.Path != "apps/"+string(id)) {
					t.Errorf("%s is %+v", id, spec)
				}
				cat.Scope("main").Secret("apps/"+string(id), nil)
				cat.Resolve("main", tagged(nil))
				cat.Remove(id, catalog.Discovered)
			}
		})
	}
	wg.Go(func() {
		seen := map[secret.ID]bool{}
		for id := range changes {
			if seen[id] = true; len(seen) == 10 {
				return
			}
		}
	})
	wg.Wait()
	if n := len(slices.Collect(cat.Entries())); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}
