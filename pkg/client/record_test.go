package client_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// drain tells the service to accept nothing but v.
func (r *rig) drain(id secret.ID, v, previous secret.VersionID) {
	r.t.Helper()
	now := time.Now()
	r.seq++
	e := events.Event{ID: "draining-" + string(v), Type: events.TypeRollout, Source: "/test", Time: now, Data: events.Data{
		SecretID: id, Store: "mem", VersionID: v, PreviousVersionID: previous, OccurredAt: now,
		Rollout: &events.Rollout{State: events.RolloutDraining, StartedAt: now, ConvergedAt: now},
	}}
	if err := r.bus.Notify(context.Background(), "api", e, r.seq); err != nil {
		r.t.Fatal(err)
	}
}

// use waits until the one user of a secret is as ok wants it.
func (r *rig) use(what string, id secret.ID, ok func(events.User) bool) (u events.User) {
	r.t.Helper()
	r.eventually(what, func() bool {
		all := r.users(id)
		if len(all) == 1 {
			u = all[0]
		}
		return len(all) == 1 && ok(u)
	})
	return u
}

// witness is a Source that looks at the bus at the first read.
type witness struct {
	client.Source

	r    *rig
	seen atomic.Pointer[[]events.User]
}

func (w *witness) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	if id == key && w.seen.Load() == nil {
		users := w.r.users(id)
		w.seen.Store(&users)
	}
	return w.Source.Read(ctx, id, sel)
}

// TestAUseIsOnRecordBeforeTheFirstRead, so that a proof that begins afterwards sees
// the instance.
func TestAUseIsOnRecordBeforeTheFirstRead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v := r.write(key, "first-value")
	r.write(token, "first-token")
	w := &witness{Source: r.source, r: r}
	r.manager(func(c *client.Config) { c.Source, c.CheckedAtUse = w, []secret.ID{token} })
	seen := *w.seen.Load()
	if len(seen) != 1 || seen[0].Use.VersionID != "" || seen[0].RenewedAt.IsZero() || seen[0].Use.PastFence != events.PastFenceServe {
		t.Errorf("at the first read the records were %+v", seen)
	}
	u := r.use("the version is on record", key, func(u events.User) bool { return u.Use.VersionID == v })
	if u.Use.Fence != int(secret.DefaultFence/time.Second) || u.Use.Accepts == nil || !u.Use.Joined || u.Presence.Incarnation == "" || u.Presence.Ended {
		t.Errorf("on record is %+v", u)
	}
	if u := r.use("the other one is", token, func(u events.User) bool { return u.Use.VersionID != "" }); u.Use.PastFence != events.PastFenceRefuse {
		t.Errorf("on record is %+v", u)
	}
}

// TestClosingTakesNoSuccessorsRecordAway: two processes that have one name after each
// other have records of their own.
func TestClosingTakesNoSuccessorsRecordAway(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v := r.write(key, "first-value")
	r.write(token, "first-token")
	old, err := client.New(t.Context(), client.Config{Service: "api", Instance: "api-0", Source: r.source, IDs: []secret.ID{key}, Bus: r.bus, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r.manager(func(c *client.Config) { c.Instance = "api-0" })
	if err := old.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.eventually("both are on record, and one of them has ended", func() bool {
		all := r.users(key)
		live := slices.DeleteFunc(slices.Clone(all), func(u events.User) bool { return u.Presence.Ended })
		return len(all) == 2 && len(live) == 1 && live[0].Use.VersionID == v
	})
}

// deafBus stores presences and, while it is deaf, hears no acknowledgement before the
// caller gives up.
type deafBus struct {
	*events.Bus
	deaf   atomic.Bool
	stored chan struct{} // receives once per presence that is not acknowledged
}

func (b *deafBus) unheard(ctx context.Context, seq uint64, err error) (uint64, error) {
	if err != nil || !b.deaf.Load() {
		return seq, err
	}
	b.stored <- struct{}{}
	<-ctx.Done()
	return 0, ctx.Err()
}

func (b *deafBus) Join(ctx context.Context, p events.Presence) (uint64, error) {
	seq, err := b.Bus.Join(ctx, p)
	return b.unheard(ctx, seq, err)
}

func (b *deafBus) Renew(ctx context.Context, p events.Presence, after uint64) (uint64, error) {
	seq, err := b.Bus.Renew(ctx, p, after)
	return b.unheard(ctx, seq, err)
}

// TestClosingEndsAPresenceThatWasNotAcknowledged: Close interrupts the renewal, which
// is stored.
func TestClosingEndsAPresenceThatWasNotAcknowledged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	bus := &deafBus{Bus: r.bus, stored: make(chan struct{})}
	c, err := client.New(t.Context(), client.Config{Service: "api", Instance: "api-0", Source: r.source, IDs: []secret.ID{key}, Bus: bus, Lease: time.Second, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	bus.deaf.Store(true)
	<-bus.stored
	bus.deaf.Store(false)
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if users := r.users(key); len(users) != 1 || !users[0].Presence.Ended {
		t.Errorf("on record is %+v, want one that has ended", users)
	}
}

// TestRecordsThatAreLostAreWrittenAgain: a renewal shows that they are gone.
func TestRecordsThatAreLostAreWrittenAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v := r.write(key, "first-value")
	r.write(token, "first-token")
	var log waittest.Buffer
	r.manager(func(c *client.Config) { c.Lease, c.Logger = time.Second, slog.New(slog.NewTextHandler(&log, nil)) })
	applied := func(u events.User) bool { return u.Use.VersionID == v && !u.RenewedAt.IsZero() }
	before := r.use("it is on record", key, applied)
	reads := r.reads.Load()
	if err := r.bus.Forget(t.Context(), "api", "one", before.Presence.Incarnation, []secret.ID{key, token}, math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	after := r.use("it is on record again", key, applied)
	if after.Presence.Incarnation != before.Presence.Incarnation || !after.UsedAt.After(before.UsedAt) {
		t.Errorf("after the loss the record is %+v", after)
	}
	r.eventually("the store is asked what was retired meanwhile", func() bool { return r.reads.Load() >= reads+2 })
	if !strings.Contains(log.String(), "level=WARN msg=secret.records_lost") {
		t.Errorf("the log does not say it: %s", log.String())
	}
}

// TestAnOverlapEndsWhenTheTokenIsRetired, whatever is left of it. A later use of the
// token is refused, counted and logged with the address of the client.
func TestAnOverlapEndsWhenTheTokenIsRetired(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	v1 := r.write(token, "first-token")
	var log waittest.Buffer
	m := r.manager(func(c *client.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	v2 := r.write(token, "second-token")
	r.notify(token, v2)
	r.use("the previous token is on record", token, func(u events.User) bool {
		return u.Use.VersionID == v2 && slices.Equal(u.Use.Accepts, []secret.VersionID{v1})
	})
	if use, err := a.Check(t.Context(), "first-token"); use != client.TokenPrevious || err != nil {
		t.Errorf("within the overlap the token is %s, err %v", use, err)
	}
	r.drain(token, v2, v1)
	r.use("nothing but the current token is on record", token, func(u events.User) bool { return u.Use.Accepts != nil && len(u.Use.Accepts) == 0 })
	if use, err := a.Check(t.Context(), "first-token"); use != client.TokenRetired || err != nil {
		t.Errorf("the retired token is %s, err %v", use, err)
	}
	if !accepted(t, a, "second-token") {
		t.Error("the current token is refused")
	}
	req := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	req.Header.Set("Authorization", "Bearer first-token")
	w := httptest.NewRecorder()
	a.Middleware(http.NotFoundHandler()).ServeHTTP(w, req)
	if w.Code != http.StatusUnauthorized {
		t.Errorf("a retired token is answered %d", w.Code)
	}
	for _, want := range []string{"level=ERROR msg=secret.retired_used", "version_id=" + string(v1), "client=192.0.2.1"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %s:\n%s", want, log.String())
		}
	}
	late, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if accepted(t, late, "first-token") {
		t.Error("an authenticator that begins afterwards accepts the retired token")
	}
}

// TestALiveKeyRingDropsARetiredKey, and one for records keeps it.
func TestALiveKeyRingDropsARetiredKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	ring := func(use client.KeyUse) *client.Keyring {
		t.Helper()
		k, err := client.NewKeyring(t.Context(), m, key, use, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		return k
	}
	live, history := ring(client.KeysAcceptLive), ring(client.KeysVerifyHistory)
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	r.use("the live ring is on record", key, func(u events.User) bool {
		return u.Use.VersionID == v2 && slices.Equal(u.Use.Accepts, []secret.VersionID{v1})
	})
	if _, err := live.Key(t.Context(), v1); err != nil {
		t.Errorf("before it is retired the key does not verify: %v", err)
	}
	r.drain(key, v2, v1)
	r.use("nothing but the current key is on record", key, func(u events.User) bool { return len(u.Use.Accepts) == 0 })
	for name, get := range map[string]func(context.Context, secret.VersionID) (client.Key, error){"key": live.Key, "fetch": live.Fetch} {
		if _, err := get(t.Context(), v1); !errors.Is(err, client.ErrNoKey) {
			t.Errorf("%s: a retired key verifies: %v", name, err)
		}
	}
	if _, err := history.Key(t.Context(), v1); err != nil {
		t.Errorf("a record of before does not verify any more: %v", err)
	}
	if _, err := client.NewKeyring(t.Context(), m, key, "both", 0); err == nil {
		t.Error("a ring that does not say what its keys are for is made")
	}
}

// rolledBack is a Source that calls another version of the key current.
type rolledBack struct {
	client.Source

	to atomic.Pointer[secret.VersionID]
}

func (s *rolledBack) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	if to := s.to.Load(); to != nil && id == key && sel.Version == "" {
		sel.Version = *to
	}
	return s.Source.Read(ctx, id, sel)
}

// TestARefusalLeavesNothingHalfTaken: what comes before the hook that refuses signs
// and accepts what it did, and after a rollback, too.
func TestARefusalLeavesNothingHalfTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	back := &rolledBack{Source: r.source}
	m := r.manager(func(c *client.Config) { c.Source, c.Retry = back, time.Minute })
	k, err := client.NewKeyring(t.Context(), m, key, client.KeysAcceptLive, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	a, err := client.NewTokenAuthenticator(t.Context(), m, key, "admin", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var plain atomic.Pointer[string]
	_, err = m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		plain.Store(new(string(c.Value.Reveal())))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		if c.Version.ID != v1 {
			return errors.New("not this one")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	// The one-step hook has taken v2, so that may be in use.
	r.use("the refusal is on record, with what hooks hold", key, func(u events.User) bool {
		return u.Use.Status == events.StatusFailed && u.Use.VersionID == v1 && slices.Contains(u.Use.Accepts, v2)
	})
	if current(t, k).ID != v1 || !accepted(t, a, "first-value") || accepted(t, a, "second-value") {
		t.Errorf("after a refusal the ring signs with %s, and the token of before is accepted: %t", current(t, k).ID, accepted(t, a, "first-value"))
	}
	if _, err := k.Key(t.Context(), v2); !errors.Is(err, client.ErrNoKey) {
		t.Errorf("the refused key verifies: %v", err)
	}
	back.to.Store(&v1)
	r.notify(key, v1)
	r.use("the version in use is applied again", key, func(u events.User) bool {
		return u.Use.Status == events.StatusApplied && u.Use.VersionID == v1 && len(u.Use.Accepts) == 0
	})
	if *plain.Load() != "first-value" {
		t.Errorf("after the rollback a hook uses %s", *plain.Load())
	}
	if current(t, k).ID != v1 || !accepted(t, a, "first-value") {
		t.Error("after the rollback the ring or the authenticator uses another version")
	}
}

// TestASecretThatIsCheckedAtUseHandsOutNoCopy, which nothing would check.
func TestASecretThatIsCheckedAtUseHandsOutNoCopy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(func(c *client.Config) { c.CheckedAtUse = []secret.ID{token} })
	if _, err := m.Get(t.Context(), token); !errors.Is(err, client.ErrCheckedAtUse) {
		t.Errorf("get: err %v", err)
	}
	if _, err := m.Subscribe(t.Context(), token, func(context.Context, client.Change) error { return nil }); !errors.Is(err, client.ErrCheckedAtUse) {
		t.Errorf("subscribe: err %v", err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it hands out a handle")
			}
		}()
		m.Secret(token)
	}()
	a, err := client.NewTokenAuthenticator(t.Context(), m, token, "admin", 0)
	if err != nil {
		t.Fatal(err)
	}
	if !accepted(t, a, "first-token") {
		t.Error("the current token is refused")
	}
	a.Close()
	if _, err := a.Check(t.Context(), "first-token"); !errors.Is(err, client.ErrClosed) {
		t.Errorf("after its end: err %v", err)
	}
}

// TestNothingIsUsedAfterTheEnd: a process that has said that it ended is not asked
// any more before a version is retired.
func TestNothingIsUsedAfterTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	m, err := client.New(t.Context(), client.Config{Service: "api", Source: r.source, IDs: []secret.ID{key}, Bus: r.bus, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.NewTokenAuthenticator(t.Context(), m, key, "admin", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if use, err := a.Check(t.Context(), "first-value"); use.Accepted() || !errors.Is(err, client.ErrFence) {
		t.Errorf("after the end the token is %s, err %v", use, err)
	}
}
