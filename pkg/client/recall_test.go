package client_test

import (
	"context"
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

	afterPrevious func() // called after each read of a previous version; may be nil
}

func (o older) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	v, val, err := o.Source.Read(ctx, id, sel)
	v.CreatedAt = v.CreatedAt.Add(-time.Hour)
	if sel.Stage == secret.StagePrevious && o.afterPrevious != nil {
		o.afterPrevious()
	}
	return v, val, err
}

// starts starts a process that checks the token, while its overlap lasts and its floor
// is over, and returns what it says of the token before.
func (r *rig) starts(source older) client.TokenUse {
	r.t.Helper()
	source.Source = r.source
	m := r.manager(func(c *client.Config) {
		c.Source, c.IDs, c.CheckedAtUse, c.Fence = source, []secret.ID{token}, []secret.ID{token}, time.Minute
	})
	a, err := client.NewTokenAuthenticator(r.t.Context(), m, token, "admin", 2*time.Hour)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(a.Close)
	use, err := a.Check(r.t.Context(), "first-token")
	if err != nil {
		r.t.Fatal(err)
	}
	return use
}

// TestAProcessThatStartsInAnOverlapAcceptsThePreviousToken at once, because that is on
// record when the authenticator is there.
func TestAProcessThatStartsInAnOverlapAcceptsThePreviousToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1, v2 := r.write(token, "first-token"), r.write(token, "second-token")
	if use := r.starts(older{}); use != client.TokenPrevious {
		t.Errorf("the token before is %s", use)
	}
	all := r.users(token)
	if len(all) != 1 || all[0].Use.VersionID != v2 || !slices.Equal(all[0].Use.Accepts, []secret.VersionID{v1}) {
		t.Errorf("on record is %+v, want that %s is used and %s accepted", all, v2, v1)
	}
}

// TestAPreviousTokenIsReadAgainOnceItIsOnRecord: a worker that has taken its stage away
// meanwhile may not have seen the record.
func TestAPreviousTokenIsReadAgainOnceItIsOnRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(token, "first-token")
	r.write(token, "second-token")
	use := r.starts(older{afterPrevious: func() {
		if err := r.mem.Retire(context.Background(), string(token), v1, secret.RetireKeep); err != nil {
			t.Error(err)
		}
	}})
	if use.Accepted() {
		t.Errorf("the token that is being retired is %s", use)
	}
	r.use("nothing is accepted besides what is current", token, func(u events.User) bool { return u.Use.VersionID != "" && u.Use.Accepts != nil && len(u.Use.Accepts) == 0 })
}
