package events

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
)

// keyDir is a directory of trusted keys.
type keyDir struct {
	t    *testing.T
	path string
}

func (d keyDir) remove(name string) {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.path, name)); err != nil {
		d.t.Fatal(err)
	}
}

func (d keyDir) write(name, text string) {
	d.t.Helper()
	if err := os.WriteFile(filepath.Join(d.path, name), []byte(text), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// generate makes a key and adds its public key under a name, unless that is empty.
func (d keyDir) generate(name string) (s *Signer, private string) {
	d.t.Helper()
	s, err := GenerateSigner()
	if err != nil {
		d.t.Fatal(err)
	}
	private = filepath.Join(d.t.TempDir(), "signing.key")
	if err := s.Save(private); err != nil {
		d.t.Fatal(err)
	}
	if name != "" {
		d.add(name, private)
	}
	return s, private
}

func (d keyDir) add(name, private string) {
	d.t.Helper()
	text, err := os.ReadFile(private + ".pub")
	if err != nil {
		d.t.Fatal(err)
	}
	d.write(name, string(text))
}

// accepts returns what v says of an event of the type that k has signed.
func accepts(v *Verifier, k *signingKey, t Type) error {
	text := []byte("text")
	return errors.Join(v.verify(k.id, k.sign(text), text), v.allowed(k.id, t, false))
}

// TestADirectoryOfTrustedKeysIsReadAgain: keys are added and removed while a program
// runs, each in the roles of its directory. One that is being written stays trusted.
func TestADirectoryOfTrustedKeysIsReadAgain(t *testing.T) {
	t.Parallel()
	dir := keyDir{t, t.TempDir()}
	one, _ := dir.generate("one.pub")
	two, private := dir.generate("")
	synctest.Test(t, func(t *testing.T) {
		v, err := TrustFiles([]string{"worker=" + dir.path}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		step := func(what string, first, second bool) {
			t.Helper()
			time.Sleep(rereadKeys)
			for s, want := range map[*Signer]bool{one: first, two: second} {
				if err := accepts(v, s.use(), TypeRotated); (err == nil) != want {
					t.Errorf("%s: %v, want trusted %t", what, err, want)
				}
			}
		}
		step("at the start", true, false)
		dir.add("two.pub", private)
		step("another key was added", true, true)
		if err := accepts(v, two.use(), TypeProofContradicted); !errors.Is(err, ErrUntrusted) {
			t.Errorf("a worker signs what a notifier does: %v", err)
		}
		dir.write("one.pub", "-----BEGIN PUB")
		step("a file is half written", true, true)
		dir.write("README", "no key")
		dir.remove("one.pub")
		step("a key was removed", false, true)
	})
}

// TestASignerGoesOverToATrustedKey: a program whose signing key was replaced signs with
// the new one once its public key is in the directory, and then believes the key before
// as long as that is there.
func TestASignerGoesOverToATrustedKey(t *testing.T) {
	t.Parallel()
	dir := keyDir{t, t.TempDir()}
	old, file := dir.generate("old.pub")
	next, fresh := dir.generate("")
	first, second := old.use(), next.use()
	synctest.Test(t, func(t *testing.T) {
		var out waittest.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		s, err := LoadSigner(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := TrustFiles([]string{dir.path}, log, s)
		if err != nil {
			t.Fatal(err)
		}
		s.Follow(func() (*Signer, error) { return LoadSigner(file) }, v, log)
		step := func(what string, want *signingKey, says string) {
			t.Helper()
			for range 3 {
				time.Sleep(rereadKeys)
				if got := s.use(); got.id != want.id {
					t.Errorf("%s: the key is %s, want %s", what, got.id, want.id)
				}
			}
			if n := strings.Count(out.String(), says); says != "" && n != 1 {
				t.Errorf("%s: %q is logged %d times, want once:\n%s", what, says, n, &out)
			}
			if err := accepts(v, s.use(), TypeRotated); err != nil {
				t.Errorf("%s: the own key: %v", what, err)
			}
		}
		step("at the start", first, "")
		if err := os.WriteFile(file, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		step("the file is half written", first, "signing_key.unreadable")
		if err := os.Rename(fresh, file); err != nil {
			t.Fatal(err)
		}
		step("the new key is not trusted", first, "signing_key.waits")
		dir.add("new.pub", fresh)
		step("the new key is trusted", second, "signing_key.replaced")
		if err := accepts(v, first, TypeRotated); err != nil {
			t.Errorf("the key before is in the directory: %v", err)
		}
		dir.remove("old.pub")
		time.Sleep(rereadKeys)
		if err := accepts(v, first, TypeRotated); !errors.Is(err, ErrUntrusted) {
			t.Errorf("the key before is gone: %v, want untrusted", err)
		}
	})
}
