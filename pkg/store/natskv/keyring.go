package natskv

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// MasterKeySize is the size of a master key in bytes.
const MasterKeySize = 32

const keysetKey = "keyset"

// errWrongMasterKey says what to look at; Tink's own error does not.
var errWrongMasterKey = errors.New("the master key does not open the keyset of this bucket: it was made with another one; check the file or variable that master_key names")

// keyring seals and opens values with the bucket's keyset.
type keyring struct {
	d *Driver

	mu       sync.RWMutex
	masters  []tink.AEAD // the one that seals the keyset, and while it is changed the next
	handle   *keyset.Handle
	aead     tink.AEAD
	revision uint64
}

func openKeyring(ctx context.Context, d *Driver, master []byte) (*keyring, error) {
	k := &keyring{d: d}
	m, err := masterAEAD(master)
	if err != nil {
		return nil, err
	}
	k.masters = []tink.AEAD{m}
	err = k.load(ctx)
	if errors.Is(err, store.ErrNotFound) && !d.cfg.Existing {
		if err = k.create(ctx); errors.Is(err, store.ErrConflict) {
			err = k.load(ctx) // somebody else made it first
		}
	}
	return k, err
}

func masterAEAD(key []byte) (tink.AEAD, error) {
	if len(key) != MasterKeySize {
		return nil, fmt.Errorf("%w: the master key has %d bytes, want %d", store.ErrInvalid, len(key), MasterKeySize)
	}
	return subtle.NewAESGCM(key)
}

func (k *keyring) bound() []byte { return []byte("rotator/natskv/keyset/v1|" + k.d.cfg.Bucket) }

func (k *keyring) load(ctx context.Context) error {
	m, err := k.d.last(ctx, keysetKey)
	if err != nil {
		return err
	}
	k.mu.RLock()
	masters := k.masters
	k.mu.RUnlock()
	for _, master := range masters {
		if h, err := k.unseal(m.Data, master); err == nil {
			return k.use(h, m.Sequence)
		}
	}
	h, err := k.reread(m.Data)
	if err != nil {
		return fmt.Errorf("%w: %w", store.ErrAccessDenied, err)
	}
	return k.use(h, m.Sequence)
}

func (k *keyring) unseal(sealed []byte, master tink.AEAD) (*keyset.Handle, error) {
	return keyset.ReadWithAssociatedData(keyset.NewBinaryReader(bytes.NewReader(sealed)), master, k.bound())
}

// reread opens a keyset with the master key as it is now, and keeps that if it
// fits.
func (k *keyring) reread(sealed []byte) (*keyset.Handle, error) {
	if k.d.cfg.Reread == nil {
		return nil, errWrongMasterKey
	}
	key, err := k.d.cfg.Reread()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errWrongMasterKey, err)
	}
	master, err := masterAEAD(key)
	if err != nil {
		return nil, err
	}
	h, err := k.unseal(sealed, master)
	if err != nil {
		return nil, errWrongMasterKey
	}
	k.setMasters(func([]tink.AEAD) []tink.AEAD { return []tink.AEAD{master} })
	return h, nil
}

func (k *keyring) create(ctx context.Context) error {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	return k.save(ctx, h, 0)
}

// save stores a keyset, sealed by the last of the masters, if the stored one has
// the revision.
func (k *keyring) save(ctx context.Context, h *keyset.Handle, revision uint64) error {
	k.mu.RLock()
	master := k.masters[len(k.masters)-1]
	k.mu.RUnlock()
	var buf bytes.Buffer
	if err := h.WriteWithAssociatedData(keyset.NewBinaryWriter(&buf), master, k.bound()); err != nil {
		return err
	}
	ack, err := k.d.cfg.JS.Publish(ctx, k.d.subject(keysetKey), buf.Bytes(), jetstream.WithExpectLastSequencePerSubject(revision))
	if err != nil {
		return classify(err)
	}
	return k.use(h, ack.Sequence)
}

func (k *keyring) use(h *keyset.Handle, revision uint64) error {
	a, err := aead.New(h)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if revision >= k.revision { // of two that load at once, the later keyset stays
		k.handle, k.aead, k.revision = h, a, revision
	}
	return nil
}

func (k *keyring) current() (*keyset.Handle, tink.AEAD, uint64) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.handle, k.aead, k.revision
}

// seal returns the sealed value and the revision of the keyset that sealed it.
func (k *keyring) seal(v secret.Value, bound []byte) ([]byte, uint64, error) {
	_, a, revision := k.current()
	sealed, err := a.Encrypt(v.Reveal(), bound)
	return sealed, revision, err
}

// open opens a sealed value. When the keyset in hand cannot, another process
// may have added a key: it is read once more.
func (k *keyring) open(ctx context.Context, sealed, bound []byte) (secret.Value, error) {
	_, a, revision := k.current()
	plain, err := a.Decrypt(sealed, bound)
	if err != nil {
		if err := k.load(ctx); err != nil {
			return secret.Value{}, err
		}
		_, b, fresh := k.current()
		if fresh != revision {
			plain, err = b.Decrypt(sealed, bound)
		}
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("%w: the sealed value does not open; it was not sealed by this bucket's keyset for this secret and version", store.ErrInvalid)
	}
	v := secret.NewValue(plain)
	clear(plain)
	return v, nil
}

// tinkPrefix starts what a key of a keyset has sealed; the key's id follows.
const tinkPrefix = 0x01

// sealedByPrimary reports whether the key that seals new values has sealed this
// one.
func (k *keyring) sealedByPrimary(sealed []byte) (bool, error) {
	h, _, _ := k.current()
	p, err := h.Primary()
	if err != nil {
		return false, err
	}
	return bytes.HasPrefix(sealed, binary.BigEndian.AppendUint32([]byte{tinkPrefix}, p.KeyID())), nil
}

// RotateKeyset adds a fresh key to the keyset, seals every value anew with it,
// and then removes the keys before it. Every step can be repeated; values stay
// readable throughout, also for other processes. It ends in [store.ErrConflict]
// when somebody else rotates the keyset at the same time, who then does all of
// it, or changes the master key: then run it again.
func (d *Driver) RotateKeyset(ctx context.Context) error {
	if err := d.rotateKeyset(ctx); err != nil {
		return fmt.Errorf("rotate keyset: %w", err)
	}
	return nil
}

func (d *Driver) rotateKeyset(ctx context.Context) error {
	if err := d.keys.load(ctx); err != nil {
		return err
	}
	h, _, revision := d.keys.current()
	m := keyset.NewManagerFromHandle(h)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	if err := m.SetPrimary(id); err != nil {
		return err
	}
	if h, err = m.Handle(); err != nil {
		return err
	}
	if err := d.keys.save(ctx, h, revision); err != nil {
		return err
	}
	_, _, revision = d.keys.current()
	if err := d.resealAll(ctx); err != nil {
		return err
	}
	// The keyset is the one from before the values were sealed anew, or the keys
	// stay: what was stored meanwhile may be sealed by one that is in neither.
	return d.prune(ctx, h, id, revision)
}

// resealAll seals every value with the primary key: those that there are now.
// What is stored from now on is sealed by it anyway, see [Driver.keep].
func (d *Driver) resealAll(ctx context.Context) error {
	info, err := d.stream.Info(ctx, jetstream.WithSubjectFilter(d.subject("v.>")))
	if err != nil {
		return classify(err)
	}
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, d.subject(""))
		parts := strings.Split(strings.TrimPrefix(key, "v."), ".")
		if len(parts) != 3 {
			return fmt.Errorf("%w: the bucket has a key that is none of ours", store.ErrInvalid)
		}
		path, err := secret.IDFromKey(secret.Key(parts[0]))
		if err != nil {
			return err
		}
		v, err := secret.IDFromKey(secret.Key(parts[1]))
		if err != nil {
			return err
		}
		if err := d.reseal(ctx, key, d.bound(string(path), secret.VersionID(v), parts[2])); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// reseal seals the value of a key anew, unless it is gone. Somebody else who
// does the same may use a key that is older than ours: it is not done before
// the primary key has sealed it.
func (d *Driver) reseal(ctx context.Context, key string, bound []byte) error {
	for range casTries {
		m, err := d.last(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return nil // retired
		}
		if err != nil {
			return err
		}
		if done, err := d.keys.sealedByPrimary(m.Data); done || err != nil {
			return err
		}
		value, err := d.keys.open(ctx, m.Data, bound)
		if err != nil {
			return err
		}
		sealed, _, err := d.keys.seal(value, bound)
		if err != nil {
			return err
		}
		_, err = d.cfg.JS.Publish(ctx, d.subject(key), sealed, jetstream.WithExpectLastSequencePerSubject(m.Sequence))
		if err = classify(err); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%w: %d times in a row", store.ErrConflict, casTries)
}

// prune removes every key but the primary from the keyset h if the stored one
// still has the revision.
func (d *Driver) prune(ctx context.Context, h *keyset.Handle, primary uint32, revision uint64) error {
	m := keyset.NewManagerFromHandle(h)
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return err
		}
		if e.KeyID() != primary {
			if err := m.Delete(e.KeyID()); err != nil {
				return err
			}
		}
	}
	pruned, err := m.Handle()
	if err != nil {
		return err
	}
	return d.keys.save(ctx, pruned, revision)
}

// ChangeMasterKey seals the keyset with another master key. Other processes that
// run with the old one go on reading, and write again once [Config.Reread] gives
// them the new one, or they have been started with it.
func (d *Driver) ChangeMasterKey(ctx context.Context, master []byte) error {
	next, err := masterAEAD(master)
	if err != nil {
		return err
	}
	if err := d.keys.load(ctx); err != nil {
		return err
	}
	h, _, revision := d.keys.current()
	old := d.keys.setMasters(func(have []tink.AEAD) []tink.AEAD { return []tink.AEAD{have[0], next} })
	if err := d.keys.save(ctx, h, revision); err != nil {
		// Whether it was stored is not known: both may open it from now on.
		if errors.Is(err, store.ErrConflict) {
			d.keys.setMasters(func([]tink.AEAD) []tink.AEAD { return old })
		}
		return fmt.Errorf("change master key: %w", err)
	}
	d.keys.setMasters(func([]tink.AEAD) []tink.AEAD { return []tink.AEAD{next} })
	return nil
}

// setMasters changes the masters and returns those from before.
func (k *keyring) setMasters(change func([]tink.AEAD) []tink.AEAD) []tink.AEAD {
	k.mu.Lock()
	defer k.mu.Unlock()
	had := k.masters
	k.masters = change(had)
	return had
}

// GenerateMasterKey writes a fresh master key to a file that only its owner can
// read, and returns it. It never overwrites one.
func GenerateMasterKey(path string) ([]byte, error) {
	key := make([]byte, MasterKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	return key, errors.Join(err, f.Sync(), f.Close())
}

// LoadMasterKey reads a master key from a file that others than its owner
// cannot read.
func LoadMasterKey(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("master key: %s can be read by others than its owner; run chmod 600 on it", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	key, err := ParseMasterKey(string(b))
	if err != nil {
		return nil, fmt.Errorf("%w, in %s", err, path)
	}
	return key, nil
}

// ParseMasterKey decodes a master key: 32 bytes in base64.
func ParseMasterKey(s string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil || len(key) != MasterKeySize {
		return nil, fmt.Errorf("master key: want %d random bytes in base64, such as: openssl rand -base64 %d", MasterKeySize, MasterKeySize)
	}
	return key, nil
}
