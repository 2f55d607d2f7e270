package inspect

import (
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
)

// TestWhatARolloutWaitsFor: who, why in words, and the code for machines.
func TestWhatARolloutWaitsFor(t *testing.T) {
	t.Parallel()
	for want, b := range map[string]events.Blocker{
		"orders: no instance is running (no_live_instance)":                                    {Service: "orders", Reason: events.BlockNoInstance},
		"orders/vm-1: it could not apply the version: command hook.sh: exit status 3 (failed)": {Service: "orders", Instance: "vm-1", Reason: events.BlockFailed, Detail: "command hook.sh: exit status 3"},
		"orders/vm-1: it runs version 3e6d0ed9 (runs_other_version)":                           {Service: "orders", Instance: "vm-1", Reason: events.BlockOldVersion, VersionID: "3e6d0ed9-a231"},
		"orders/vm-1: it has taken no version into use yet (runs_other_version)":               {Service: "orders", Instance: "vm-1", Reason: events.BlockOldVersion},
		"the fleet eu (fleet_not_heard): no instance":                                          {Service: "eu", Reason: events.BlockFleet, Detail: "no instance"},
	} {
		if got := Blocked(b); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestBecauseIsInWords: what is waited for has a code in parentheses, beside the words.
func TestBecauseIsInWords(t *testing.T) {
	t.Parallel()
	gone := events.Blocker{Service: "orders", Reason: events.BlockNoInstance}
	for want, a := range map[string]rollout.SafeToRevoke{
		"it waits for orders: no instance is running (no_live_instance)":         {Because: "it waits for orders no_live_instance", Waiting: []events.Blocker{gone}},
		"it waits for orders: no instance is running (no_live_instance), 1 more": {Because: "it waits for orders no_live_instance and 1 more", Waiting: []events.Blocker{gone, {Service: "webhooks", Reason: events.BlockNoInstance}}},
		"its grace period and floor last another 5m0s":                           {Because: "its grace period and floor last another 5m0s", Waiting: []events.Blocker{gone}},
		"the fleet is not known":                                                 {Because: "the fleet is not known"},
	} {
		if got := Because(a); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
