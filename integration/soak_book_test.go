//go:build !race

package integration

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// soakVersion is what became of one version. A time is zero for never.
type soakVersion struct {
	id       secret.VersionID
	value    string
	asked    time.Time // before the rotation was asked for
	rotated  time.Time // when the bus stored that it was promoted
	applied  time.Time // every instance ran it
	drains   time.Time // services were about to be told to accept nothing before it
	retires  time.Time // what was before it is retired
	state    events.RolloutState
	blocking []events.Blocker
}

// soakBook has the versions of every secret, in the order of their promotion.
type soakBook struct {
	mu       sync.Mutex
	versions map[secret.ID][]soakVersion
	asked    map[secret.ID]time.Time
	changed  chan struct{} // closed at the next change
	states   map[events.RolloutState]int
}

func newSoakBook() *soakBook {
	return &soakBook{
		versions: map[secret.ID][]soakVersion{}, asked: map[secret.ID]time.Time{}, changed: make(chan struct{}), states: map[events.RolloutState]int{},
	}
}

// ask notes that a rotation is about to be asked for.
func (b *soakBook) ask(id secret.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked[id] = time.Now()
}

func (b *soakBook) index(id secret.ID, v secret.VersionID) int {
	return slices.IndexFunc(b.versions[id], func(w soakVersion) bool { return w.id == v })
}

func (b *soakBook) announce() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// promoted adds a version, unless it is there. Of the log's first events only the last
// of each secret can be read, which is no harm: there is one.
func (b *soakBook) promoted(id secret.ID, v secret.VersionID, value string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.index(id, v) >= 0 {
		return
	}
	b.versions[id] = append(b.versions[id], soakVersion{id: v, value: value, asked: b.asked[id], rotated: at})
	b.announce()
}

// moved notes an event of a rollout.
func (b *soakBook) moved(d events.Data) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.index(d.SecretID, d.VersionID)
	if i < 0 {
		return
	}
	v := &b.versions[d.SecretID][i]
	if times := map[events.RolloutState]*time.Time{
		events.RolloutConverged: &v.applied, events.RolloutDraining: &v.drains, events.RolloutRetired: &v.retires,
	}; times[d.Rollout.State] != nil && times[d.Rollout.State].IsZero() {
		*times[d.Rollout.State] = d.OccurredAt
	}
	v.state, v.blocking = d.Rollout.State, d.Rollout.Blocking
	b.states[d.Rollout.State]++
	b.announce()
}

// all returns the versions of a secret, and a channel that is closed when they change.
func (b *soakBook) all(id secret.ID) ([]soakVersion, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.versions[id]), b.changed
}

// newest returns the last version of a secret.
func (b *soakBook) newest(id secret.ID) soakVersion {
	all, _ := b.all(id)
	return all[len(all)-1]
}

// until waits until ok, and returns false when ctx ends before.
func (b *soakBook) until(ctx context.Context, id secret.ID, ok func([]soakVersion) bool) bool {
	for {
		all, changed := b.all(id)
		if ok(all) {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// pick draws the version that a caller sends: one of the last few, or the one that
// callers should use, which is the last one, or before it has reached every instance
// of a service that is not prepared for it, the one before.
func (b *soakBook) pick(r *rand.Rand, spec secret.Spec, old bool) soakVersion {
	all, _ := b.all(spec.ID)
	if old {
		return all[len(all)-1-r.IntN(min(len(all), 4))]
	}
	for i := len(all) - 1; i > 0; i-- {
		if spec.Rollout == secret.RolloutPrepare || !all[i].applied.IsZero() {
			return all[i]
		}
	}
	return all[0]
}

// first returns the first time that later versions than the one at i were given.
func first(all []soakVersion, i int, of func(soakVersion) time.Time) time.Time {
	var out time.Time
	for _, v := range all[i+1:] {
		if t := of(v); !t.IsZero() && (out.IsZero() || t.Before(out)) {
			out = t
		}
	}
	return out
}

func drainsAt(v soakVersion) time.Time  { return v.drains }
func retiresAt(v soakVersion) time.Time { return v.retires }

// String is a line for each version. It holds no value.
func (b *soakBook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out strings.Builder
	at := func(t time.Time) string {
		if t.IsZero() {
			return "never"
		}
		return t.Format("15:04:05.000")
	}
	for id, all := range b.versions {
		for _, v := range all {
			fmt.Fprintf(&out, "\n%s %s: asked for %s, rotated %s, applied %s, drains %s, retires %s, %s", id, v.id,
				at(v.asked), at(v.rotated), at(v.applied), at(v.drains), at(v.retires), v.state)
		}
	}
	return out.String()
}

// unaccounted returns what cannot be said to have become of a version.
func unaccounted(all []soakVersion) []string {
	var out []string
	for i, v := range all[1:] {
		last := i+2 == len(all)
		named := len(v.blocking) > 0 && cmp.Or(v.blocking[0].Instance, v.blocking[0].Service) != ""
		switch {
		case v.state == events.RolloutRetired:
		case v.state == events.RolloutSuperseded && !last:
		case v.state == "" && !last: // it was superseded before the first event
		case (v.state == events.RolloutWaiting || v.state == events.RolloutStalled) && last && named:
		default:
			out = append(out, fmt.Sprintf("version %s is %q, blocked by %v", v.id, v.state, v.blocking))
		}
	}
	return out
}
