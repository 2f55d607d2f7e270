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

	"github.com/tradepulse/rotator/internal/newfile"
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
	err = k.load(ctx, d.peek)
	if errors.Is(err, store.ErrNotFound) && !d.cfg.Existing {
		if err = k.create(ctx); errors.Is(err, store.ErrConflict) {
			err = k.load(ctx, d.last) // another process made it first
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

// load reads the keyset, unless it is the one in hand. An older one proves
// nothing: it is [store.ErrUnavailable].
func (k *keyring) load(ctx context.Context, get lookup) error {
	m, err := get(ctx, keysetKey)
	if err != nil {
		return err
	}
	k.mu.RLock()
	masters, have := k.masters, k.revision
	k.mu.RUnlock()
	switch {
	case m.Sequence == have:
		return nil
	case m.Sequence < have:
		return fmt.Errorf("%w: the keyset that was read is older than the one in hand; a server lags behind, or the bucket was made anew and this process has to be restarted",
			store.ErrUnavailable)
	}
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

// reread opens a keyset with the master key as it is now, or with the next one, and
// keeps the one that fits.
func (k *keyring) reread(sealed []byte) (*keyset.Handle, error) {
	h, err := k.try(sealed, k.d.cfg.Reread)
	if err != nil {
		if h, nerr := k.try(sealed, k.d.cfg.Next); nerr == nil {
			return h, nil
		}
	}
	return h, err
}

func (k *keyring) try(sealed []byte, read func() ([]byte, error)) (*keyset.Handle, error) {
	if read == nil {
		return nil, errWrongMasterKey
	}
	key, err := read()
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
	if revision > k.revision { // of two that load at once, the later keyset stays
		k.handle, k.aead, k.revision = h, a, revision
	}
	return nil
}

func (k *keyring) current() (*keyset.Handle, tink.AEAD, uint64) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.handle, k.aead, k.revision
}

// seal seals a value with the primary key of the keyset in hand.
func (k *keyring) seal(v secret.Value, bound []byte) ([]byte, error) {
	_, a, _ := k.current()
	return a.Encrypt(v.Reveal(), bound)
}

// open opens a sealed value. When the keyset in hand cannot, another process
// may have added a key: it is read once more.
func (k *keyring) open(ctx context.Context, sealed, bound []byte) (secret.Value, error) {
	_, a, revision := k.current()
	plain, err := a.Decrypt(sealed, bound)
	if err != nil {
		if err := k.load(ctx, k.d.peek); err != nil {
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

// ChangeMasterKey seals the keyset with another master key. Other processes that
// run with the old one go on reading, and write again once [Config.Reread] gives
// them the new one, or they have been started with it.
func (d *Driver) ChangeMasterKey(ctx context.Context, master []byte) error {
	next, err := masterAEAD(master)
	if err != nil {
		return err
	}
	if err := d.keys.load(ctx, d.last); err != nil {
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
	if err := newfile.Write(path, []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return key, nil
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
