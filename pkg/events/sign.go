package events

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/tradepulse/rotator/internal/newfile"
)

// ErrUntrusted is wrapped by the error for an event whose signature is missing,
// wrong, or by a key that is not trusted.
var ErrUntrusted = errors.New("event is not signed by a trusted key")

// Signer signs events with one Ed25519 key, which may be replaced, see
// [Signer.Follow].
type Signer struct {
	current  atomic.Pointer[signingKey]
	follower *keyFollower
}

type signingKey struct {
	key ed25519.PrivateKey
	pub ed25519.PublicKey
	id  string
}

// Verifier checks events against the keys it trusts. Several are trusted at
// once while a signing key is replaced. The zero value trusts none.
type Verifier struct {
	keys  map[string]TrustedKey
	files *keyFiles // nil if the keys do not change
	own   []*Signer // trusted in every role
}

// GenerateSigner returns a Signer with a fresh key.
func GenerateSigner() (*Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return NewSigner(key)
}

// NewSigner returns a Signer with the given key.
func NewSigner(key ed25519.PrivateKey) (*Signer, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("signing key has %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	pub := ed25519.PublicKey(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])
	s := new(Signer)
	s.current.Store(&signingKey{key: key, pub: pub, id: keyID(pub)})
	return s, nil
}

// Public returns the key with which others check what s signs now.
func (s *Signer) Public() ed25519.PublicKey { return s.current.Load().pub }

// keyIDBytes is how much of the hash of a public key its ID is.
const keyIDBytes = 8

// keyID returns the name of a public key in the ce-keyid attribute: the first
// 16 hexadecimal digits of its SHA-256.
func keyID(pub ed25519.PublicKey) string {
	sum := sha256.Sum256(pub)
	return hex.EncodeToString(sum[:keyIDBytes])
}

// NewVerifier returns a Verifier that trusts the given keys in every role.
func NewVerifier(keys ...ed25519.PublicKey) *Verifier {
	all := make([]TrustedKey, len(keys))
	for i, k := range keys {
		all[i].Key = k
	}
	return NewRoleVerifier(all...)
}

// NewRoleVerifier returns a Verifier that trusts each key in its roles. Of a key
// that is given twice the last one counts.
func NewRoleVerifier(keys ...TrustedKey) *Verifier {
	v := &Verifier{keys: make(map[string]TrustedKey, len(keys))}
	for _, k := range keys {
		v.keys[keyID(k.Key)] = k
	}
	return v
}

func (k *signingKey) sign(canonical []byte) string {
	return base64.RawURLEncoding.EncodeToString(ed25519.Sign(k.key, canonical))
}

// key returns a trusted key by its name.
func (v *Verifier) key(id string) (TrustedKey, bool) {
	for _, s := range v.own {
		if k := s.current.Load(); k.id == id {
			return TrustedKey{Key: k.pub}, true
		}
	}
	k, ok := v.trusted()[id]
	return k, ok
}

func (v *Verifier) trusted() map[string]TrustedKey {
	if v.files == nil {
		return v.keys
	}
	return v.files.now()
}

func (v *Verifier) verify(keyID, signature string, canonical []byte) error {
	key, ok := v.key(keyID)
	if !ok {
		return fmt.Errorf("%w: key id is not among the %d trusted", ErrUntrusted, len(v.trusted())+len(v.own))
	}
	sig, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil || !ed25519.Verify(key.Key, canonical, sig) {
		return fmt.Errorf("%w: the signature does not fit", ErrUntrusted)
	}
	return nil
}

// allowed returns an error unless the key may sign an event of type t. Its
// signature has been verified.
func (v *Verifier) allowed(keyID string, t Type, notification bool) error {
	if k, ok := v.key(keyID); ok && k.may(t, notification) {
		return nil
	}
	return fmt.Errorf("%w: no role of its key signs that", ErrUntrusted)
}

// canonical returns the bytes that are signed: a domain, then for each
// attribute its name, the length of its value and the value, then the body.
// Lengths leave no way to move bytes from one part to another.
func canonical(attrs [][2]string, body []byte) []byte {
	out := []byte("rotator/event/v1\n")
	for _, a := range append(attrs, [2]string{"data", string(body)}) {
		out = append(out, a[0]...)
		out = append(out, ':')
		out = strconv.AppendInt(out, int64(len(a[1])), 10)
		out = append(out, ':')
		out = append(out, a[1]...)
		out = append(out, '\n')
	}
	return out
}

const (
	privateBlock = "PRIVATE KEY"
	publicBlock  = "PUBLIC KEY"
)

// LoadSigner reads an Ed25519 private key from a PEM file (PKCS #8). It refuses
// a file that others than its owner can read.
func LoadSigner(path string) (*Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("signing key %s can be read by others than its owner; run chmod 600 on it", path)
	}
	der, err := readPEM(path, privateBlock)
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	key, ok := parsed.(ed25519.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("signing key %s is no Ed25519 key in PKCS #8; make one with: openssl genpkey -algorithm ed25519", path)
	}
	return NewSigner(key)
}

// LoadPublicKey reads an Ed25519 public key from a PEM file (PKIX).
func LoadPublicKey(path string) (ed25519.PublicKey, error) {
	der, err := readPEM(path, publicBlock)
	if err != nil {
		return nil, fmt.Errorf("trusted key: %w", err)
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	key, ok := parsed.(ed25519.PublicKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("trusted key %s is no Ed25519 public key; make one with: openssl pkey -pubout", path)
	}
	return key, nil
}

func readPEM(path, kind string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%s has no PEM block %q", path, kind)
	}
	return block.Bytes, nil
}

// Save writes the private key to path, for its owner only, and the public key
// beside it to path + ".pub". It never overwrites a key.
func (s *Signer) Save(path string) error {
	der, err := x509.MarshalPKCS8PrivateKey(s.current.Load().key)
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	pub, err := x509.MarshalPKIXPublicKey(s.Public())
	if err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	if err := writeNew(path, privateBlock, der, 0o600); err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	if err := writeNew(path+".pub", publicBlock, pub, 0o644); err != nil {
		return fmt.Errorf("signing key: %w", err)
	}
	return nil
}

func writeNew(path, kind string, der []byte, mode os.FileMode) error {
	return newfile.Write(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
