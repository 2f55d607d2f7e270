package events_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// TestReportsOfOlderClientsAreBounded in number: at the bound further ones are refused, none
// is dropped, those that are there can be renewed, and the fleet says whose they are.
func TestReportsOfOlderClientsAreBounded(t *testing.T) {
	t.Parallel()
	const size, most = 1 << 10, 10
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{ReportRecords: most})
	if err := b.Report(t.Context(), events.Report{Service: "modest", Instance: "one", At: time.Now()}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if f := fleet(t, b, id); f.FullBy != "" {
		t.Errorf("with one report the stream is full by %s", f.FullBy)
	}
	greedy := func(n int) events.Report {
		r := fleetReport(n, size)
		r.Service, r.At = "greedy", time.Unix(1_800_000_000, 0)
		return r
	}
	var stored int
	var err error
	for ; stored <= most && err == nil; stored++ {
		err = b.Report(t.Context(), greedy(stored), time.Hour)
	}
	if !errors.Is(err, events.ErrFull) {
		t.Fatalf("after %d reports: %v", stored, err)
	}
	if err := b.Report(t.Context(), greedy(0), time.Hour); err != nil {
		t.Errorf("a renewal: %v", err)
	}
	f := fleet(t, b, id)
	if f.FullBy != "greedy" || len(f.Users) != stored-1 {
		t.Errorf("the stream is full by %q and has %d users of %d", f.FullBy, len(f.Users), stored-1)
	}
	all, err := b.Reports(t.Context())
	if err != nil || len(all) != stored {
		t.Errorf("%d reports are there, %v", len(all), err)
	}
	for n := range stored - 1 {
		if err := b.Withdraw(t.Context(), "greedy", fmt.Sprintf("i%05d", n)); err != nil {
			t.Fatal(err)
		}
	}
	waittest.Until(t, "the stream has room after the instances have closed", func() error {
		if f := fleet(t, b, id); f.FullBy != "" {
			return fmt.Errorf("it is full by %s", f.FullBy)
		}
		return nil
	})
}
