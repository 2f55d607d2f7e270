package client

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

func uses(all []events.RetiredUse) (n int64) {
	for _, u := range all {
		n += u.Uses
	}
	return n
}

// TestATripwireIsBounded: however many clients use however many retired versions, the
// record names some of them and counts all, and changes rarely.
func TestATripwireIsBounded(t *testing.T) {
	t.Parallel()
	var w tripwire
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	reports := 0
	const clients, each = 500, 20
	for n := range clients * each {
		if _, report := w.used(secret.VersionID(fmt.Sprint("v", n%3)), fmt.Sprint("192.0.2.", n%clients), now); report {
			reports++
		}
	}
	first := w.record(now)
	if len(first) != events.MaxRetiredUses || uses(first) != clients*each || reports != events.MaxRetiredUses {
		t.Fatalf("the record has %d clients with %d uses after %d reports, want %d with %d after as many", len(first), uses(first), reports, events.MaxRetiredUses, clients*each)
	}
	w.used("v0", first[0].Client, now.Add(time.Second))
	w.used("v9", "198.51.100.1", now.Add(time.Second))
	if again := w.record(now.Add(59 * time.Second)); !slices.Equal(first, again) {
		t.Errorf("within a minute the record changes from %v to %v", first, again)
	}
	if later := w.record(now.Add(time.Minute)); uses(later) != clients*each+2 {
		t.Errorf("after a minute it has %d uses, want %d", uses(later), clients*each+2)
	}
}

// TestATripwireNamesAClientThatComesLater: the room of one that stopped long ago is
// given to it.
func TestATripwireNamesAClientThatComesLater(t *testing.T) {
	t.Parallel()
	var w tripwire
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for n := range 20 {
		w.used("v1", fmt.Sprint("192.0.2.", n), now)
	}
	w.record(now)
	now = now.Add(tripForget)
	w.used("v1", "198.51.100.1", now)
	if got := w.record(now); !slices.ContainsFunc(got, func(u events.RetiredUse) bool { return u.Client == "198.51.100.1" && u.Uses == 1 && u.Last.Equal(now) }) {
		t.Errorf("the record says %v", got)
	}
}

// TestATripwireTakesNoText: only what may be an address gets into the record.
func TestATripwireTakesNoText(t *testing.T) {
	t.Parallel()
	for client, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::1%eth0", "[2001:db8::1]:443": "[2001:db8::1]:443", "ingress-7.example.com": "ingress-7.example.com",
		"": events.ClientUnknown, "a b": events.ClientUnknown, "x\n": events.ClientUnknown, "é": events.ClientUnknown, `"}`: events.ClientUnknown, fmt.Sprintf("%065d", 1): events.ClientUnknown,
	} {
		var w tripwire
		w.used("v1", client, time.Now())
		if got := w.record(time.Now()); len(got) != 1 || got[0].Client != want {
			t.Errorf("%q: %v, want %s", client, got, want)
		}
	}
}
