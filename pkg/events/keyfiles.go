package events

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// rereadKeys is how long files of keys are believed before they are read again.
const rereadKeys = time.Second

// TrustFiles returns a Verifier for what a configuration trusts: files with public
// keys, and directories of them, each with its roles, see [ParseTrustedKey]. They are
// read again while events are checked, so that keys can be added and removed. The keys
// of own are trusted in every role.
func TrustFiles(configured []string, log *slog.Logger, own ...*Signer) (*Verifier, error) {
	f := &keyFiles{configured: configured, log: cmp.Or(log, slog.Default()), parsed: map[string]ed25519.PublicKey{}, failed: map[string]string{}}
	for _, text := range configured {
		if err := f.add(text, map[string]TrustedKey{}); err != nil {
			return nil, err
		}
	}
	return &Verifier{files: f, own: own}, nil
}

// keyFiles are trusted keys in files.
type keyFiles struct {
	configured []string
	log        *slog.Logger

	mu     sync.Mutex
	read   time.Time
	keys   map[string]TrustedKey        // not changed once it is here
	parsed map[string]ed25519.PublicKey // the last key of each file
	failed map[string]string            // what was logged of each file
}

// now returns the keys that the files have now, by their names.
func (f *keyFiles) now() map[string]TrustedKey {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); f.keys == nil || now.Sub(f.read) >= rereadKeys {
		keys := make(map[string]TrustedKey, len(f.keys))
		for _, text := range f.configured {
			f.report(text, f.add(text, keys))
		}
		f.keys, f.read = keys, now
	}
	return f.keys
}

// add adds the keys of one entry of the configuration. A file that is there and that
// cannot be read is being replaced: its last key stays.
func (f *keyFiles) add(text string, keys map[string]TrustedKey) error {
	roles, path, err := ParseTrustedKey(text)
	if err != nil {
		return err
	}
	files, err := publicKeyFiles(path)
	if err != nil {
		return fmt.Errorf("trusted key: %w", err)
	}
	var failed error
	for _, file := range files {
		k, err := LoadPublicKey(file)
		switch {
		case err == nil:
			f.parsed[file] = k
		case errors.Is(err, os.ErrNotExist):
			delete(f.parsed, file)
			failed = err
		default:
			failed = err
		}
		if k, ok := f.parsed[file]; ok {
			keys[keyID(k)] = TrustedKey{Key: k, Roles: roles}
		}
	}
	return failed
}

// publicKeyFiles returns path, or the files in it that end in .pub if it is a
// directory.
func publicKeyFiles(path string) ([]string, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return []string{path}, nil //nolint:nilerr // reading it says what is wrong
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".pub") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files, nil
}

// report logs a new error about an entry once.
func (f *keyFiles) report(text string, err error) {
	if err == nil {
		delete(f.failed, text)
		return
	}
	if f.failed[text] != err.Error() {
		f.failed[text] = err.Error()
		f.log.Error("trusted_key.unreadable", slog.String("error", err.Error()), slog.String("remedy", "write a public key there, or remove the file"))
	}
}

// Follow lets s go over to the key that load returns, once its public key is among
// those that v is configured to trust: the keys of other programs were given to them
// in the same way before. It is called before s is used.
func (s *Signer) Follow(load func() (*Signer, error), v *Verifier, log *slog.Logger) {
	s.follower = &keyFollower{load: load, v: v, log: cmp.Or(log, slog.Default()), read: time.Now()}
}

// keyFollower finds the next key of a Signer.
type keyFollower struct {
	load func() (*Signer, error)
	v    *Verifier
	log  *slog.Logger

	mu   sync.Mutex
	read time.Time
	said string
}

// use returns the key to sign with.
func (s *Signer) use() *signingKey {
	if f := s.follower; f != nil {
		f.follow(s)
	}
	return s.current.Load()
}

func (f *keyFollower) follow(s *Signer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.read) < rereadKeys {
		return
	}
	f.read = now
	next, err := f.load()
	if err != nil {
		f.say(slog.LevelError, "signing_key.unreadable", err.Error())
		return
	}
	key := next.current.Load()
	if key.id == s.current.Load().id {
		f.said = ""
		return
	}
	if _, ok := f.v.trusted()[key.id]; !ok {
		f.say(slog.LevelWarn, "signing_key.waits", "the file has another key, whose public key is not among signing.trusted_keys; put it into the directory of trusted keys of every program and service")
		return
	}
	s.current.Store(key)
	f.say(slog.LevelInfo, "signing_key.replaced", "events are signed with the key "+key.id)
}

// say logs what differs from what was logged before.
func (f *keyFollower) say(level slog.Level, event, text string) {
	if f.said == event+text {
		return
	}
	f.said = event + text
	f.log.LogAttrs(context.Background(), level, event, slog.String("message", text)) //nolint:sloglint // one of three constants
}
