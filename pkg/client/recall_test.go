package client_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// older is a Source whose versions were made an hour ago, so that the floor covers
// none of them.
type older struct {
	client.Source

	afterPrevious func() // called after each read of the version before; may be nil
}

func (o older) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	v, val, err := o.Source.Read(ctx, id, sel)
	v.CreatedAt = v.CreatedAt.Add(-time.Hour)
	if v.Stage == secret.StagePrevious && o.afterPrevious != nil {
		o.afterPrevious()
	}
	return v, val, err
}

// ahead is a Source whose clock is some minutes ahead of the machine's.
type ahead struct {
	client.Source

	by time.Duration
}

func (a ahead) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	v, val, err := a.Source.Read(ctx, id, sel)
	v.CreatedAt = v.CreatedAt.Add(a.by)
	return v, val, err
}

// starts are the users that accept the version before in a process that has just
// started, by name.
func (r *rig) starts(source client.Source, change ...func(*client.Config)) map[string]func(before secret.VersionID) bool {
	r.t.Helper()
	m := r.manager(func(c *client.Config) {
		c.Source, c.IDs, c.CheckedAtUse, c.Fence = source, []secret.ID{token}, []secret.ID{token}, time.Minute
		for _, f := range change {
			f(c)
		}
	})
	return map[string]func(secret.VersionID) bool{
		"authenticator": func(secret.VersionID) bool {
			a, err := client.NewTokenAuthenticator(r.t.Context(), m, token, "admin", 2*time.Hour)
			if err != nil {
				r.t.Fatal(err)
			}
			r.t.Cleanup(a.Close)
			return accepted(r.t, a, "first-token")
		},
		"live key ring": func(before secret.VersionID) bool {
			k, err := client.NewKeyring(r.t.Context(), m, token, client.KeysAcceptLive, 0)
			if err != nil {
				r.t.Fatal(err)
			}
			r.t.Cleanup(k.Close)
			_, err = k.Fetch(r.t.Context(), before)
			return err == nil
		},
	}
}

// TestAProcessThatStartsAcceptsTheVersionBefore at once, although its floor is over:
// that it accepts the version is on record by then.
func TestAProcessThatStartsAcceptsTheVersionBefore(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"authenticator", "live key ring"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			v1, v2 := r.write(token, "first-token"), r.write(token, "second-token")
			users := r.starts(older{Source: r.source})
			if !users[name](v1) {
				t.Error("the version before is refused")
			}
			all := r.users(token)
			if len(all) != 1 || all[0].Use.VersionID != v2 || !slices.Equal(all[0].Use.Accepts, []secret.VersionID{v1}) {
				t.Errorf("on record is %+v, want that %s is used and %s accepted", all, v2, v1)
			}
		})
	}
}

// TestAMachineWhoseClockIsBehindAcceptsNothingByAge: without a record the age of the
// version in use is all that keeps the one before, and a version that was made in the
// future has none.
func TestAMachineWhoseClockIsBehindAcceptsNothingByAge(t *testing.T) {
	t.Parallel()
	for by, want := range map[time.Duration]bool{0: true, 10 * time.Minute: false} {
		for _, name := range []string{"authenticator", "live key ring"} {
			t.Run(fmt.Sprint(name, ", ", by, " behind"), func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				v1 := r.write(token, "first-token")
				r.write(token, "second-token")
				users := r.starts(ahead{r.source, by}, func(c *client.Config) { c.Bus = nil })
				if got := users[name](v1); got != want {
					t.Errorf("the version before is accepted: %t, want %t", got, want)
				}
			})
		}
	}
}

// TestTheVersionBeforeIsReadAgainOnceItIsOnRecord: a worker that has taken its stage
// away meanwhile may not have seen the record.
func TestTheVersionBeforeIsReadAgainOnceItIsOnRecord(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"authenticator", "live key ring"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			v1, v2 := r.write(token, "first-token"), r.write(token, "second-token")
			users := r.starts(older{Source: r.source, afterPrevious: func() {
				if err := r.mem.Retire(t.Context(), string(token), v1, secret.RetireKeep); err != nil {
					t.Error(err)
				}
			}})
			r.use("the version in use is on record", token, func(u events.User) bool { return u.Use.VersionID == v2 })
			if users[name](v1) {
				t.Error("a version that is being retired is accepted")
			}
			r.use("nothing is accepted besides", token, func(u events.User) bool { return u.Use.VersionID == v2 && len(u.Use.Accepts) == 0 })
		})
	}
}

// TestWhatHasLapsedKeepsNoOtherVersionOut: the fence of a version that is accepted
// besides the one in use is over for good, and that of the one in use is not.
func TestWhatHasLapsedKeepsNoOtherVersionOut(t *testing.T) {
	inFakeTime(t, 0, func(c *client.Config) { c.Fence = time.Hour }, func(c *clock) {
		a, err := client.NewTokenAuthenticator(c.t.Context(), c.m, key, "admin", 24*time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		rotate := func() {
			c.write()
			if err := c.m.Refresh(c.t.Context(), key); err != nil {
				t.Fatal(err)
			}
		}
		c.pass(time.Minute)
		rotate()
		if !accepted(c.t, a, "value-1") {
			t.Error("the version before is refused")
		}
		c.pass(2 * time.Hour)
		if !accepted(c.t, a, "value-2") || accepted(c.t, a, "value-1") {
			t.Error("past the fence the store confirms the version in use, and nothing the one before")
		}
		c.pass(time.Minute)
		rotate()
		if !accepted(c.t, a, "value-3") || !accepted(c.t, a, "value-2") || accepted(c.t, a, "value-1") {
			t.Error("the version before is refused, or the one before that accepted")
		}
		if c.metric("secret.retired_used") != 0 {
			t.Error("a version that is not retired counts as retired")
		}
	})
}
