package rotation_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
	"github.com/tradepulse/rotator/pkg/target"
)

// accounts is a target that shows which versions have a session, and notes which it was
// asked about and which it has revoked.
type accounts struct {
	target.ValueOnly
	can            target.InUse
	open           map[secret.VersionID]bool
	asked, revoked []secret.VersionID
}

func (a *accounts) Capabilities() target.Capabilities {
	return target.Capabilities{Overlap: target.OverlapAny, InUse: a.can}
}

func (a *accounts) InUse(_ context.Context, r target.Ref) (target.Usage, error) {
	a.asked = append(a.asked, r.Version)
	if a.open[r.Version] {
		return target.Usage{Sessions: []target.Session{{Client: "192.0.2.7:41234"}}}, nil
	}
	return target.Usage{}, nil
}

func (a *accounts) Revoke(_ context.Context, r target.Ref, _ target.Drain) error {
	a.revoked = append(a.revoked, r.Version)
	return nil
}

// unlabelled is a store that does not list a version without a stage.
type unlabelled struct{ *storetest.Mem }

func (u unlabelled) Describe(ctx context.Context, path string) (secret.Metadata, error) {
	m, err := u.Mem.Describe(ctx, path)
	m.Versions = slices.DeleteFunc(slices.Clone(m.Versions), func(v secret.Version) bool { return v.Stage == secret.StageRetired })
	return m, err
}

// newAccounts is a retirement in a mode at a target.
func newAccounts(t *testing.T, mode secret.RetireMode, can target.InUse, change func(*rotation.Config, retirement)) (retirement, *accounts) {
	t.Helper()
	a := &accounts{can: can, open: map[secret.VersionID]bool{}}
	var cfg rotation.Config
	x := newRetirement(t, func(c *rotation.Config) { cfg = *c })
	spec := x.spec
	spec.Retire = mode
	cfg.Catalog, cfg.Stores = rotation.Configured(t, x.st, spec)
	cfg.TargetFor = func(context.Context, secret.Spec) (target.Target, error) { return a, nil }
	if change != nil {
		change(&cfg, x)
	}
	r, err := rotation.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	x.r, x.spec = r, spec
	return x, a
}

// TestEachTryDrainsAndRevokesWhatTheLogNames: the first try takes the stage away. Whatever
// the store shows of the version after that, each later try asks the target about it and
// revokes it, and no receipt is stored before.
func TestEachTryDrainsAndRevokesWhatTheLogNames(t *testing.T) {
	t.Parallel()
	unlisted := func(c *rotation.Config, x retirement) {
		st, err := store.New("mem", unlabelled{x.mem}, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Catalog, c.Stores = rotation.Configured(t, st, x.spec)
	}
	destroyed := func(_ *rotation.Config, x retirement) {
		if err := x.st.RetireWhile(t.Context(), "ID", x.v1, secret.RetireDestroy, x.v2); err != nil {
			t.Fatal(err)
		}
	}
	kept := func(_ *rotation.Config, x retirement) {
		if err := x.st.RetireWhile(t.Context(), "ID", x.v1, secret.RetireKeep, x.v2); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		mode   secret.RetireMode
		change func(*rotation.Config, retirement)
	}{
		"retired versions are deleted":                   {secret.RetireDelete, nil},
		"retired versions are kept":                      {secret.RetireKeep, nil},
		"an earlier program kept it when it began":       {secret.RetireKeep, kept},
		"the store lists no version without a stage":     {secret.RetireDelete, unlisted},
		"its value was destroyed, and not at the target": {secret.RetireDelete, destroyed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x, a := newAccounts(t, c.mode, target.InUseSessions, c.change)
			a.open[x.v1] = true
			order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
			x.log(t, order)
			for n := range 3 {
				if err := x.retire(t, order); err == nil || len(a.asked) != n+1 || a.asked[n] != x.v1 || len(a.revoked) > 0 {
					t.Fatalf("try %d: %v, the target was asked about %v and revoked %v; want that it waits for the session of %s", n+1, err, a.asked, a.revoked, x.v1)
				}
			}
			if all, _ := x.receipts(t); len(all) > 0 {
				t.Errorf("%d receipts while a session is open", len(all))
			}
			a.open[x.v1] = false
			order.Retry.QuietSince = time.Now().Add(-time.Hour)
			if err := x.retire(t, order); err != nil || !slices.Equal(a.revoked, []secret.VersionID{x.v1}) {
				t.Errorf("after the session: %v, revoked %v, want %s", err, a.revoked, x.v1)
			}
			if all, _ := x.receipts(t); len(all) != 1 || !slices.Equal(all[0].Retired, []secret.VersionID{x.v1}) || len(all[0].Target) != 1 {
				t.Errorf("receipts %+v, want one of %s, with what the target saw", all, x.v1)
			}
		})
	}
}

// TestASupersededRetirementIsFinished: the rollout of version 2 took the stage of version 1
// and did not come to its end. That of version 3 drains, revokes and retires both.
func TestASupersededRetirementIsFinished(t *testing.T) {
	t.Parallel()
	for _, mode := range []secret.RetireMode{secret.RetireDelete, secret.RetireKeep, secret.RetireDestroy} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			x, a := newAccounts(t, mode, target.InUseSessions, nil)
			a.open[x.v1] = true
			d := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
			x.log(t, d)
			if err := x.retire(t, d); err == nil {
				t.Fatal("a version with a session was retired")
			}
			a.open[x.v1] = false
			if err := x.rotate(t, x.v2); err != nil {
				t.Fatal(err)
			}
			v3 := x.current(t)
			x.runs(t, "one", v3)
			d.VersionID, d.PreviousVersionID, d.Retry.QuietSince = v3, x.v2, time.Now().Add(-time.Hour)
			x.log(t, d)
			if err := x.retire(t, d); err != nil {
				t.Fatal(err)
			}
			if want := []secret.VersionID{x.v1, x.v2}; !slices.Equal(a.revoked, want) {
				t.Errorf("the target revoked %v, want %v", a.revoked, want)
			}
			for _, v := range []secret.VersionID{x.v1, x.v2} {
				if old := x.version(t, v); old.Stage != secret.StageRetired || old.Kept != (mode == secret.RetireKeep) || old.Empty == old.Kept {
					t.Errorf("version %s is left as %+v", v, old)
				}
			}
			x.runs(t, "one", v3)
			a.revoked = nil
			if err := x.rotate(t, v3); err != nil {
				t.Fatal(err)
			}
			v4 := x.current(t)
			x.runs(t, "one", v4)
			d.VersionID, d.PreviousVersionID = v4, v3
			x.log(t, d)
			if err := x.retire(t, d); err != nil || !slices.Equal(a.revoked, []secret.VersionID{v3}) {
				t.Errorf("the next retirement: %v, revoked %v, want %s alone", err, a.revoked, v3)
			}
		})
	}
}
