package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

const third = secret.ID("THIRD_SECRET_ID")

// firstRead is a Source that says what is on record of a secret when it is read for
// the first time.
type firstRead struct {
	client.Source

	r    *rig
	id   secret.ID
	uses map[secret.ID][]events.User
}

func (f firstRead) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	if _, seen := f.uses[id]; !seen && id == f.id {
		f.uses[id] = f.r.users(id)
	}
	return f.Source.Read(ctx, id, sel)
}

// reconfigured returns a Manager whose configuration is what set says at each reload.
func (r *rig) reconfigured(set *client.Set) *client.Manager {
	r.t.Helper()
	return r.manager(func(c *client.Config) {
		c.Reconfigure = func(context.Context) (client.Set, error) { return *set, nil }
	})
}

// at returns a Source of the secrets, of which one may be at another path.
func (r *rig) at(moved secret.ID, path string, ids ...secret.ID) client.Source {
	r.t.Helper()
	st, err := store.New("mem", r.mem, &store.Options{Logger: quiet})
	if err != nil {
		r.t.Fatal(err)
	}
	var specs []secret.Spec
	for _, id := range ids {
		spec := secret.Spec{ID: id, Store: "mem"}
		if id == moved {
			spec.Path = path
		}
		specs = append(specs, spec)
	}
	source, err := client.FromSpecs([]*store.Store{st}, specs)
	if err != nil {
		r.t.Fatal(err)
	}
	return source
}

// TestAReloadAddsMovesAndDrops: the use of what is added is on record before its first
// read, and that of what is dropped has ended.
func TestAReloadAddsMovesAndDrops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	r.write("elsewhere", "moved-value")
	r.write(third, "third-value")
	var set client.Set
	m := r.reconfigured(&set)
	var seen []string
	if _, err := m.Subscribe(t.Context(), key, func(_ context.Context, c client.Change) error {
		seen = append(seen, string(c.Value.Reveal()))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	h := m.Secret(key)
	source := firstRead{Source: r.at(key, "elsewhere", key, third), r: r, id: third, uses: map[secret.ID][]events.User{}}
	set = client.Set{Source: source, IDs: []secret.ID{key, third}}
	if err := m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if value(h.Get()) != "moved-value" || len(seen) != 2 || seen[1] != "moved-value" {
		t.Errorf("after the move the value is %s, and the hook was given %q", value(h.Get()), seen)
	}
	if got, err := m.Get(t.Context(), third); err != nil || string(got.Value.Reveal()) != "third-value" {
		t.Errorf("what was added is %v: %v", got.Version.ID, err)
	}
	if u := source.uses[third]; len(u) != 1 || u[0].Use.VersionID != "" || u[0].Ended() {
		t.Errorf("at the first read the record of what was added was %+v", u)
	}
	r.use("what was added is on record", third, func(u events.User) bool { return u.Use.VersionID != "" })
	if _, err := m.Get(t.Context(), token); !errors.Is(err, client.ErrUnknown) {
		t.Errorf("what was dropped is read: %v", err)
	}
	r.use("the use of what was dropped has ended", token, func(u events.User) bool { return u.Ended() && !u.Presence.Ended && u.Use.VersionID == "" })

	set = client.Set{Source: r.at("", "", key, token), IDs: []secret.ID{key, token}}
	if err := m.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.use("the use of what was dropped has begun again", token, func(u events.User) bool { return !u.Ended() && u.Use.VersionID != "" })
	if value(h.Get()) != "first-value" {
		t.Errorf("after it moved back the value is %s", value(h.Get()))
	}
}

// TestAReloadThatFailsChangesNothing: whatever is wrong with one secret.
func TestAReloadThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	r.write("elsewhere", "moved-value")
	r.write(third, "third-value")
	var set client.Set
	m := r.reconfigured(&set)
	refuse := false
	stop, err := m.Subscribe(t.Context(), token, func(context.Context, client.Change) error {
		if refuse {
			return errors.New("not this one")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		set    client.Set
		refuse bool
		want   string
	}{
		"what is added is not there":    {set: client.Set{Source: r.at("", "", key, token, third, "nowhere"), IDs: []secret.ID{key, token, third, "nowhere"}}, want: "nowhere"},
		"the new path is not there":     {set: client.Set{Source: r.at(key, "nowhere", key, token, third), IDs: []secret.ID{key, token, third}}, want: string(key)},
		"a hook refuses what has moved": {set: client.Set{Source: r.at(token, "elsewhere", key, token, third), IDs: []secret.ID{key, token, third}}, refuse: true, want: "not this one"},
		"what is dropped has users":     {set: client.Set{Source: r.at("", "", key, third), IDs: []secret.ID{key, third}}, want: string(token)},
		"it is not configured":          {set: client.Set{Source: r.at("", "", key), IDs: []secret.ID{key, token}}, want: string(token)},
		"there is none":                 {set: client.Set{}, want: "no secret"},
	} {
		set, refuse = c.set, c.refuse
		if err := m.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one about %s", name, err, c.want)
		}
		for id, want := range map[secret.ID]string{key: "first-value", token: "first-token"} {
			if err := m.Refresh(t.Context(), id); err != nil && !c.refuse {
				t.Errorf("%s: refresh %s: %v", name, id, err)
			}
			if got, err := m.Get(t.Context(), id); err != nil || string(got.Value.Reveal()) != want {
				t.Errorf("%s: %s is not as before: %v", name, id, err)
			}
		}
		if _, err := m.Get(t.Context(), third); !errors.Is(err, client.ErrUnknown) {
			t.Errorf("%s: what could not be added is read: %v", name, err)
		}
		if c.want == "nowhere" {
			r.use("what could not be added has ended", third, events.User.Ended)
		}
	}
	refuse = false
	stop()
	set = client.Set{Source: r.at("", "", key), IDs: []secret.ID{key}}
	if err := m.Reload(t.Context()); err != nil {
		t.Errorf("after its hook was removed the secret cannot be dropped: %v", err)
	}
}
