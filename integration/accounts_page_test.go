package integration

import (
	"testing"

	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
)

// pages reads as each program what its status page shows.
func (a *accounts) pages(t *testing.T, s *site) {
	t.Helper()
	managed := s.catalog(a.lawful("WORKER")).Catalog // the notifier may not open the store
	for _, user := range []string{"SCHEDULER", "WORKER", "NOTIFIER"} {
		nc := a.lawful(user)
		in := inspect.Inspector{Catalog: managed, Bus: s.bus(nc, user), Readers: &rollout.KnownReaders{}, Announced: true}
		all, err := in.Secrets(t.Context())
		if err != nil || len(all) != 1 || all[0].Error != "" || all[0].SafeToRevoke == nil {
			t.Errorf("%s: %v, %+v", user, err, all)
		}
		if _, err := inspect.ListedOnce(t.Context(), in.Bus, managed); err != nil {
			t.Errorf("%s looks for secrets that were listed once: %v", user, err)
		}
	}
}
