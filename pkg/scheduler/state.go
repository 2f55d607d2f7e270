package scheduler

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// storeState is one store with the results of earlier sweeps. Busy is held for the
// duration of a sweep, so there is one at a time.
type storeState struct {
	name  string
	store *store.Store

	busy sync.Mutex
	done bool // the last sweep succeeded; guarded by busy

	last   atomic.Pointer[tally] // of the last complete sweep
	memory memory
}

func newStoreStates(stores *store.Set) []*storeState {
	var out []*storeState
	for _, st := range stores.All() {
		s := &storeState{name: st.Name(), store: st}
		s.memory.seen, s.memory.noted = map[secret.ID]remembered{}, map[string]noted{}
		out = append(out, s)
	}
	return out
}

// memory is what the sweeps of one store remember: a secret that has not changed,
// with its timer in place, costs no call on the bus. It is safe for concurrent
// use.
type memory struct {
	mu    sync.Mutex
	round int // of the sweep that is under way, or was last
	full  int // round of the next sweep that skips no secret
	seen  map[secret.ID]remembered
	noted map[string]noted // :: path → findings that have been logged
}

// remembered is some 100 bytes, and there may be a million.
type remembered struct {
	round   int // in which it was last seen
	version secret.VersionID
	at      time.Time
	reason  Reason
	// path is where a discovered secret is, and mark the fingerprint of its
	// announcement.
	path string
	mark uint64
}

type noted struct {
	round int
	text  string
}

// begin starts the next round, and reports whether it skips no secret.
func (m *memory) begin() (full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.round++
	return m.round >= m.full
}

// end forgets what a complete round has not seen, and returns the secrets among it
// that were discovered before.
func (m *memory) end(full bool) []secret.ID {
	m.mu.Lock()
	defer m.mu.Unlock()
	if full {
		m.full = m.round + fullEvery
	}
	var missing []secret.ID
	for id, was := range m.seen {
		if was.round == m.round {
			continue
		}
		if delete(m.seen, id); was.path != "" {
			missing = append(missing, id)
		}
	}
	maps.DeleteFunc(m.noted, func(_ string, n noted) bool { return n.round != m.round })
	return missing
}

// get returns what is remembered of a secret, and false for nothing.
func (m *memory) get(id secret.ID) (remembered, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.seen[id]
	return r, ok
}

// edit changes what is remembered of a secret, which this round has seen.
func (m *memory) edit(id secret.ID, change func(*remembered)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.seen[id]
	change(&r)
	r.round = m.round
	m.seen[id] = r
}

// note remembers the findings about the secret at a path, and reports whether they
// have changed.
func (m *memory) note(path, text string) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed = m.noted[path].text != text
	m.noted[path] = noted{m.round, text}
	return changed
}
