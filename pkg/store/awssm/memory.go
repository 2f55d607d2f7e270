package awssm

import (
	"context"
	"hash/maphash"
	"maps"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// fresh is how long the labels that were read of a secret may stand in for
// reading them again. It spans the steps of one rotation.
const fresh = 30 * time.Second

// memory is what a Driver has learnt of its secrets. What is in it either
// cannot change, as the date of a version, or is used only where AWS checks it
// again.
type memory struct {
	mu      sync.Mutex
	secrets map[string]remembered // :: path → what is known
	recent  map[string]reading    // :: path → labels
	swept   time.Time
}

type remembered struct {
	versions map[secret.VersionID]known
	// binary is whether the value read or written last was in SecretBinary, kind
	// what the tag says, which wins.
	binary bool
	kind   string
}

// known is what never changes of a version.
type known struct {
	created time.Time // zero: not known
	filled  bool      // it has a value
}

// reading is the labels of a secret as they were at a moment.
type reading struct {
	labels labels
	at     time.Time
}

func newMemory() *memory {
	return &memory{secrets: map[string]remembered{}, recent: map[string]reading{}}
}

// version returns what is known of a version.
func (m *memory) version(path string, v secret.VersionID) known {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.secrets[path].versions[v]
}

// learn adds to what is known of a version.
func (m *memory) learn(path string, v secret.VersionID, k known) {
	m.edit(path, func(r *remembered) {
		was := r.versions[v]
		if k.created.IsZero() {
			k.created = was.created
		}
		k.filled = k.filled || was.filled
		if r.versions == nil {
			r.versions = map[secret.VersionID]known{}
		}
		r.versions[v] = k
	})
}

// described takes note of a secret as AWS describes it, and forgets versions
// that have no label any more. Labels that may be behind are not passed.
func (m *memory) described(path string, l labels, kind string) {
	m.edit(path, func(r *remembered) {
		r.kind = kind
		if l != nil {
			maps.DeleteFunc(r.versions, func(v secret.VersionID, _ known) bool { return l[v] == nil })
		}
	})
}

// used takes note of where a value was read or written.
func (m *memory) used(path string, binary bool) {
	m.edit(path, func(r *remembered) { r.binary = binary })
}

func (m *memory) edit(path string, change func(*remembered)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.secrets[path]
	change(&r)
	m.secrets[path] = r
}

// binary reports whether text goes into SecretBinary.
func (m *memory) binary(path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.secrets[path]
	switch r.kind {
	case kindBinary:
		return true
	case kindString:
		return false
	default:
		return r.binary
	}
}

// labels returns the labels of a secret if they were read a moment ago.
func (m *memory) labels(path string, now time.Time) (labels, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.recent[path]
	return r.labels, ok && now.Sub(r.at) < fresh
}

// saw keeps labels that were read at the given moment; nil drops them.
func (m *memory) saw(path string, l labels, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.Sub(m.swept) > fresh {
		maps.DeleteFunc(m.recent, func(_ string, r reading) bool { return at.Sub(r.at) >= fresh })
		m.swept = at
	}
	if l == nil {
		delete(m.recent, path)
		return
	}
	m.recent[path] = reading{l, at}
}

// turns lets one writer of a path in at a time. Paths share a few of them.
type turns struct {
	seed  maphash.Seed
	slots [64]chan struct{}
}

func newTurns() *turns {
	t := &turns{seed: maphash.MakeSeed()}
	for i := range t.slots {
		t.slots[i] = make(chan struct{}, 1)
	}
	return t
}

// take waits for the turn of the path, or for the end of ctx.
func (t *turns) take(ctx context.Context, path string) (release func(), err error) {
	slot := t.slots[maphash.String(t.seed, path)%uint64(len(t.slots))]
	select {
	case slot <- struct{}{}:
		return func() { <-slot }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
