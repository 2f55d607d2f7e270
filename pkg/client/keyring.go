package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tradepulse/rotator/pkg/client/internal/fence"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Key is one version of a key.
type Key struct {
	ID    secret.VersionID
	Value secret.Value
}

// KeyUse says what the older versions of a key are for.
type KeyUse string

const (
	// KeysVerifyHistory is for records: a version verifies what was signed before it
	// was replaced, also after it was retired. Something else has to show when a
	// record was made, as the chain of an [AuditLogger] does.
	KeysVerifyHistory KeyUse = "history"
	// KeysAcceptLive is for what is accepted now, such as session tokens: a version
	// that verifies authorises something new, so it ends when it is retired.
	KeysAcceptLive KeyUse = "live"
)

// ErrNoKey is wrapped by the errors about a version that a [Keyring] does not have,
// or does not accept any more.
var ErrNoKey = errors.New("the key ring has no such version")

// Keyring signs with the current version of a secret, and verifies with other
// versions as its [KeyUse] says, staged ones included. What it is a key for is not
// its business. It is safe for concurrent use.
//
// Signing, and verifying with [KeysAcceptLive], check whether the version may still
// be used, and refuse past the fence, see [FenceError].
type Keyring struct {
	e      *entry
	m      *Manager
	kind   KeyUse
	keep   time.Duration
	closed atomic.Bool
	stop   func()

	mu    sync.Mutex
	state atomic.Pointer[ring] // replaced with mu held

	fetching sync.Mutex // held while a live ring fetches a version
}

var _ acceptor = (*Keyring)(nil)

// ring is what a key ring holds. It is replaced, never changed, once it can be seen.
type ring struct {
	current  Key
	prepared Key // not signed with before every hook has taken it
	keys     map[secret.VersionID]kept
	old      []secret.VersionID // of a live ring, not accepted any more, the latest first
	retired  map[secret.VersionID]bool
	fetching secret.VersionID // on record as accepted, and not accepted yet
}

// kept is a key and when it stops to verify, zero for never.
type kept struct {
	Key

	until  time.Time
	staged bool
}

// over reports whether the key has stopped to verify.
func (k kept) over(now time.Time) bool { return !k.until.IsZero() && !now.Before(k.until) }

// NewKeyring returns a Keyring on a secret of m. A version that was current is kept
// for keep after another one became current; 0 keeps it for as long as the process
// lives, or with [KeysAcceptLive] until it is retired, which ends it in any case.
func NewKeyring(ctx context.Context, m *Manager, id secret.ID, kind KeyUse, keep time.Duration) (*Keyring, error) {
	e, ok := m.find(id)
	switch {
	case !ok:
		return nil, fmt.Errorf("client: %w: %s", ErrUnknown, id)
	case kind != KeysVerifyHistory && kind != KeysAcceptLive:
		return nil, fmt.Errorf("client: key ring of %s: the use is %q, want %s or %s", id, kind, KeysVerifyHistory, KeysAcceptLive)
	}
	k := &Keyring{e: e, m: m, kind: kind, keep: keep}
	k.state.Store(&ring{})
	detach := e.attach(k)
	leave, err := m.subscribe(ctx, id, steps{k.prepare, k.commit, k.withdraw})
	if err != nil {
		detach()
		return nil, err
	}
	k.stop = func() { leave(); detach() }
	return k, nil
}

// prepare implements [TwoPhase]. A staged version verifies from here on.
func (k *Keyring) prepare(_ context.Context, c Change) error {
	key := Key{ID: c.Version.ID, Value: c.Value}
	if !c.Staged {
		k.change(func(r *ring) { r.prepared = key })
		return nil
	}
	if _, has := k.state.Load().keys[key.ID]; has {
		return nil
	}
	if !k.accept(kept{Key: key, staged: true}) {
		return errUnrecorded
	}
	return nil
}

// accept adds a staged key. It reports false, and adds nothing, if the ring is live and
// no record of the use confirms the key, see [claim.accepting].
func (k *Keyring) accept(key kept) bool {
	k.change(func(r *ring) { r.keys[key.ID] = key })
	if k.kind == KeysVerifyHistory || k.e.claim.accepting(fence.Clock{}) {
		return true
	}
	k.change(func(r *ring) { delete(r.keys, key.ID) })
	return false
}

// commit implements [TwoPhase]. A version that replaces another starts the time of
// all that are kept.
func (k *Keyring) commit(_ context.Context, c Change) {
	k.change(func(r *ring) {
		key := Key{ID: c.Version.ID, Value: c.Value}
		for id, old := range r.keys {
			if k.keep > 0 && id != key.ID && old.until.IsZero() && !old.staged {
				old.until = time.Now().Add(k.keep)
				r.keys[id] = old
			}
		}
		r.keys[key.ID], r.current, r.prepared = kept{Key: key}, key, Key{}
		r.old = slices.DeleteFunc(r.old, func(v secret.VersionID) bool { return v == key.ID })
		delete(r.retired, key.ID)
	})
}

// withdraw implements [TwoPhase].
func (k *Keyring) withdraw(v secret.VersionID) {
	k.change(func(r *ring) {
		if r.prepared.ID == v {
			r.prepared = Key{}
		}
		if r.keys[v].staged {
			delete(r.keys, v)
			r.end(v, true)
		}
	})
}

// accepts implements acceptor. To verify a record that was made before its key was
// replaced authorises nothing new.
func (k *Keyring) accepts() (out []secret.VersionID) {
	if k.kind == KeysVerifyHistory {
		return nil
	}
	now, r := time.Now(), k.state.Load()
	for v, key := range r.keys {
		if !key.over(now) {
			out = append(out, v)
		}
	}
	if r.fetching != "" {
		out = append(out, r.fetching)
	}
	return out
}

// drop implements acceptor.
func (k *Keyring) drop(keep func(secret.VersionID) bool, retired bool) {
	if k.kind == KeysVerifyHistory {
		return
	}
	k.change(func(r *ring) {
		for v := range r.keys {
			if !keep(v) {
				delete(r.keys, v)
				r.end(v, retired)
			}
		}
		for _, v := range r.old {
			r.retired[v] = r.retired[v] || retired && !keep(v)
		}
	})
}

// end notes a version that is not accepted any more.
func (r *ring) end(v secret.VersionID, retired bool) {
	r.old = append([]secret.VersionID{v}, r.old...)
	r.retired[v] = retired
	if len(r.old) > maxOld {
		delete(r.retired, r.old[maxOld])
		r.old = r.old[:maxOld]
	}
}

// change replaces the ring by a changed copy without those whose time is over.
// Readers see the keys of before or those of after, and never wait.
func (k *Keyring) change(f func(*ring)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := *k.state.Load()
	r.keys, r.old, r.retired = maps.Clone(r.keys), slices.Clone(r.old), maps.Clone(r.retired)
	if r.keys == nil {
		r.keys, r.retired = map[secret.VersionID]kept{}, map[secret.VersionID]bool{}
	}
	now := time.Now()
	for v, key := range r.keys {
		if key.over(now) {
			delete(r.keys, v)
			r.end(v, false)
		}
	}
	f(&r)
	k.state.Store(&r)
}

// Current returns the key to sign with. Its error is [ErrClosed], or a [FenceError]
// after a read of the store within ctx.
func (k *Keyring) Current(ctx context.Context) (Key, error) {
	if k.closed.Load() {
		return Key{}, ErrClosed
	}
	k.e.access.reads[readUse].inc()
	if err := k.e.check(ctx); err != nil {
		return Key{}, err
	}
	return k.state.Load().current, nil
}

// Key returns a version to verify with. Its error wraps [ErrNoKey] when this process
// has not seen the version or does not keep it. The errors of Current are those of a
// ring with [KeysAcceptLive] as well, which reports the use of a retired version with
// the client of [WithClient].
func (k *Keyring) Key(ctx context.Context, v secret.VersionID) (Key, error) {
	if k.kind == KeysAcceptLive {
		if _, err := k.Current(ctx); err != nil {
			return Key{}, err
		}
	} else {
		k.e.access.reads[readUse].inc()
	}
	r := k.state.Load()
	key, ok := r.keys[v]
	switch live := k.kind == KeysAcceptLive; {
	case !ok || key.over(time.Now()), live && v != r.current.ID && !k.e.claim.othersUsable():
		k.missed(ctx, r, v)
		return Key{}, fmt.Errorf("client: %s: %w: %s", k.e.id, ErrNoKey, v)
	case live && !k.e.claim.usable():
		return Key{}, k.e.fenced(ctx, nil)
	}
	return key.Key, nil
}

// missed reports the use of a retired version.
func (k *Keyring) missed(ctx context.Context, r *ring, v secret.VersionID) {
	if r.retired[v] {
		k.e.tripped(ctx, v, clientOf(ctx))
	}
}

// Fetch returns a version like Key, and asks the store for one that this process
// does not have: after a restart, for records of an earlier one. It is kept like
// one that was current. With [KeysAcceptLive] it fetches a version only while the
// store has it at a stage.
func (k *Keyring) Fetch(ctx context.Context, v secret.VersionID) (Key, error) {
	key, err := k.Key(ctx, v)
	if err == nil || !errors.Is(err, ErrNoKey) {
		return key, err
	}
	live := k.kind == KeysAcceptLive
	if live && (k.state.Load().retired[v] || k.e.drained()) {
		return Key{}, err
	}
	if live {
		return k.fetchLive(ctx, v)
	}
	add, _, err := k.read(ctx, v)
	if err != nil {
		return Key{}, err
	}
	k.change(func(r *ring) { r.keys[v] = add })
	k.m.renew()
	return add.Key, nil
}

// fetchLive fetches a version that is to be accepted. That is on record before the read
// that counts, see [TokenAuthenticator.recall].
func (k *Keyring) fetchLive(ctx context.Context, v secret.VersionID) (Key, error) {
	k.fetching.Lock()
	defer k.fetching.Unlock()
	k.e.lapse()
	add, stage, err := k.read(ctx, v)
	if err != nil || !inUse(stage) {
		return Key{}, k.notInUse(v, err)
	}
	k.change(func(r *ring) { r.fetching = v })
	defer k.change(func(r *ring) { r.fetching = "" })
	confirmed := k.e.claim.acceptingUnrecorded
	if k.e.recordNow(ctx) {
		confirmed = k.e.claim.accepting
		if add, stage, err = k.read(ctx, v); err != nil || !inUse(stage) {
			return Key{}, k.notInUse(v, err)
		}
	}
	if !confirmed(k.replacedAt(stage)) {
		return Key{}, k.notInUse(v, nil)
	}
	k.change(func(r *ring) { r.keys[v] = add })
	k.m.renew()
	if k.e.drained() { // meanwhile
		k.drop(k.e.kept, true)
		return k.Key(ctx, v)
	}
	return add.Key, nil
}

// read reads a version from the store, for a live ring from its primary.
func (k *Keyring) read(ctx context.Context, v secret.VersionID) (kept, secret.Stage, error) {
	found, val, err := (*k.e.source.Load()).Read(ctx, k.e.id, store.Selector{Version: v, Primary: k.kind == KeysAcceptLive})
	if err != nil {
		return kept{}, "", err
	}
	add := kept{Key: Key{ID: v, Value: val}, staged: found.Stage == secret.StagePending}
	if k.keep > 0 {
		add.until = time.Now().Add(k.keep)
	}
	return add, found.Stage, nil
}

// inUse reports whether a version with a stage may be accepted.
func inUse(s secret.Stage) bool { return s != secret.StageRetired && s != "" }

func (k *Keyring) notInUse(v secret.VersionID, err error) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("client: %s: %w: %s is not in use", k.e.id, ErrNoKey, v)
}

// replacedAt returns when the version in use replaced the one with a stage, or earlier,
// and zero if it did not.
func (k *Keyring) replacedAt(s secret.Stage) fence.Clock {
	if s != secret.StagePrevious {
		return fence.Clock{}
	}
	return madeAt(k.e.current.Load().Version.CreatedAt)
}

// Lookup returns the function that [AuditVerifier] and [VerifyAudit] ask for
// keys: Fetch in their form.
func (k *Keyring) Lookup(ctx context.Context) func(secret.VersionID) (secret.Value, error) {
	return func(v secret.VersionID) (secret.Value, error) {
		key, err := k.Fetch(ctx, v)
		return key.Value, err
	}
}

// Close takes the Keyring off its secret. It signs and accepts nothing from here on;
// one with [KeysVerifyHistory] verifies with the keys that it has.
func (k *Keyring) Close() {
	k.closed.Store(true)
	k.stop()
}
