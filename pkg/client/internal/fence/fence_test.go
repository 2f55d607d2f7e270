package fence

import (
	"testing"
	"time"
)

// at returns the reading of both clocks so long after the start of a process.
func at(d time.Duration) Clock {
	return Clock{Boot: time.Hour + d, Wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(d)}
}

// running returns a fence of one minute over v1, joined, read and recorded at 0.
func running() *Fence {
	f := &Fence{Length: time.Minute}
	f.Joined(at(0))
	f.Acknowledged("")
	f.Switched("v1")
	f.Read("v1", at(0))
	f.Acknowledged("v1")
	return f
}

func TestUsable(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		do   func(*Fence)
		at   time.Duration
		want bool
	}{
		"a version that was read is usable":                        {func(*Fence) {}, time.Minute - 1, true},
		"not for longer than the fence":                            {func(*Fence) {}, time.Minute, false},
		"a renewal extends it from when it was sent":               {func(f *Fence) { f.Renewed(at(30*time.Second), at(59*time.Second)) }, 90*time.Second - 1, true},
		"and no longer than that":                                  {func(f *Fence) { f.Renewed(at(30*time.Second), at(59*time.Second)) }, 90 * time.Second, false},
		"a renewal that arrives late extends nothing":              {func(f *Fence) { f.Renewed(at(30*time.Second), at(time.Minute)) }, time.Minute, false},
		"a renewal after it ran out confirms nothing":              {func(f *Fence) { f.Renewed(at(2*time.Minute), at(2*time.Minute)) }, 2 * time.Minute, false},
		"a read after it ran out does":                             {func(f *Fence) { f.Read("v1", at(2*time.Minute)) }, 2 * time.Minute, true},
		"a read that calls another version current does not":       {func(f *Fence) { f.Read("v2", at(30*time.Second)) }, time.Minute, false},
		"a renewal after the presence was lost confirms nothing":   {func(f *Fence) { f.Refused(); f.Renewed(at(30*time.Second), at(30*time.Second)) }, time.Minute, false},
		"nor after the join, before the record was written again":  {func(f *Fence) { f.Joined(at(1)); f.Renewed(at(30*time.Second), at(30*time.Second)) }, time.Minute, false},
		"a renewal while the record names another version neither": {func(f *Fence) { f.Acknowledged("v2"); f.Renewed(at(30*time.Second), at(30*time.Second)) }, time.Minute, false},
		"a version that was switched to is not confirmed by that":  {func(f *Fence) { f.Switched("v2") }, time.Second, false},
		"a renewal that was overtaken by a read takes nothing away": {
			func(f *Fence) { f.Read("v1", at(50*time.Second)); f.Renewed(at(30*time.Second), at(55*time.Second)) }, 100 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := running()
			tt.do(f)
			if got := f.Usable(at(tt.at)); got != tt.want {
				t.Errorf("got %t, want %t: %+v", got, tt.want, f)
			}
		})
	}
}

func TestOthersHaveAConfirmationOfTheirOwn(t *testing.T) {
	t.Parallel()
	f := running()
	f.Switched("v2")
	f.Read("v2", at(30*time.Second))
	if !f.OthersUsable(at(time.Minute-1)) || f.OthersUsable(at(time.Minute)) {
		t.Errorf("v1 was confirmed at 0: %+v", f)
	}
	f.Acknowledged("v2")
	f.Renewed(at(40*time.Second), at(40*time.Second))
	if !f.OthersUsable(at(100*time.Second - 1)) {
		t.Errorf("a renewal confirms what the record lists: %+v", f)
	}
	f.Read("v2", at(200*time.Second))
	if f.OthersUsable(at(200*time.Second)) || !f.Usable(at(200*time.Second)) {
		t.Errorf("a read of the primary confirms the version in use alone: %+v", f)
	}
	f.Dropped()
	if f.OthersUsable(at(1)) {
		t.Errorf("nothing is accepted any more: %+v", f)
	}
}

func TestWhatIsLoadedCountsFromTheLastRenewal(t *testing.T) {
	t.Parallel()
	f := &Fence{Length: time.Minute}
	f.Joined(at(0))
	f.Acknowledged("")
	f.Loaded()
	if !f.OthersUsable(at(time.Minute-1)) || f.OthersUsable(at(time.Minute)) {
		t.Errorf("the presence was sent at 0: %+v", f)
	}
	f = &Fence{Length: time.Minute}
	f.Switched("v2")
	f.Read("v2", at(0))
	f.Loaded()
	if f.OthersUsable(at(0)) || !f.Usable(at(0)) {
		t.Errorf("no record covers what was loaded: %+v", f)
	}
}

func TestElapsedTimeIsTheLarger(t *testing.T) {
	t.Parallel()
	asleep, setBack := at(0), at(time.Minute)
	asleep.Wall = asleep.Wall.Add(time.Minute)
	setBack.Wall = setBack.Wall.Add(-time.Hour)
	for _, c := range []Clock{asleep, setBack} {
		if got := c.Since(at(0)); got != time.Minute {
			t.Errorf("got %s for %+v", got, c)
		}
		if running().Usable(c) {
			t.Errorf("usable at %+v", c)
		}
	}
}
