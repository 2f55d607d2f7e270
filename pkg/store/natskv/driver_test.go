package natskv_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

func masterKey(fill byte) []byte { return bytes.Repeat([]byte{fill}, natskv.MasterKeySize) }

func open(t *testing.T, js jetstream.JetStream, key []byte) *natskv.Driver {
	t.Helper()
	d, err := natskv.Open(t.Context(), natskv.Config{JS: js, MasterKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s, _ := runServer(t)
	_, js := connect(t, s)
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		return storetest.Harness{
			Driver:  open(t, js, masterKey(1)),
			Cut:     func(t *testing.T) store.Driver { t.Helper(); return cut(t, s) },
			ListOf:  600, // the client pulls 500 at a time
			Another: func(t *testing.T) store.Driver { t.Helper(); return open(t, js, masterKey(1)) },
			Delete: func(ctx context.Context, path string) error {
				kv, err := js.KeyValue(ctx, natskv.DefaultBucket)
				if err != nil {
					return err
				}
				return kv.Delete(ctx, "s."+string(secret.ID(path).Key()))
			},
		}
	})
}

// write makes a version of path current and returns it.
func write(t *testing.T, d *natskv.Driver, path, value string) secret.VersionID {
	t.Helper()
	token := secret.NewToken(secret.ID(path), "", value, 0)
	var from secret.VersionID
	if m, err := d.Describe(t.Context(), path); err == nil {
		from = m.Current().ID
	}
	v, err := d.Put(t.Context(), path, store.Write{Token: token, From: from, Value: secret.NewValue([]byte(value)), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Promote(t.Context(), path, from, v.ID); err != nil {
		t.Fatal(err)
	}
	return v.ID
}

func read(t *testing.T, d *natskv.Driver, path string) string {
	t.Helper()
	_, v, err := d.Get(t.Context(), path, store.Selector{})
	if err != nil {
		t.Fatal(err)
	}
	return string(v.Reveal())
}

func TestNoPlaintextOnDisk(t *testing.T) {
	t.Parallel()
	js, dir := startServer(t)
	const bird = "Canary-On-Disk-4711!"
	d := open(t, js, masterKey(1))
	write(t, d, "a/secret", bird)
	found := false
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		found = found || bytes.Contains(b, []byte("a/secret"))
		if bytes.Contains(b, []byte(bird)) {
			t.Errorf("%s holds the value", path)
		}
		return err
	})
	if err != nil || !found {
		t.Errorf("the search saw the document: %t, err %v", found, err)
	}
}

func TestAWrongMasterKeySaysWhatToCheck(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	open(t, js, masterKey(1))
	_, err := natskv.Open(t.Context(), natskv.Config{JS: js, MasterKey: masterKey(2)})
	if err == nil || !strings.Contains(err.Error(), "master_key") {
		t.Errorf("err %v, want one that names master_key", err)
	}
}

func TestASealedValueOpensOnlyWhereItBelongs(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	d := open(t, js, masterKey(1))
	a, b := write(t, d, "one", "Value-Of-One-000!"), write(t, d, "two", "Value-Of-Two-000!")
	kv, err := js.KeyValue(t.Context(), natskv.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	e, err := kv.Get(t.Context(), values(t, kv, "v.one."+string(a))[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), values(t, kv, "v.two."+string(b))[0], e.Value()); err != nil {
		t.Fatal(err)
	}
	if _, v, err := d.Get(t.Context(), "two", store.Selector{}); err == nil {
		t.Errorf("a value moved from another secret opens, %d bytes", v.Len())
	}
}

// values returns the keys of the sealed values that were ever written for a
// version and are still there.
func values(t *testing.T, kv jetstream.KeyValue, version string) []string {
	t.Helper()
	all, err := kv.ListKeysFiltered(t.Context(), version+".*")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for k := range all.Keys() {
		out = append(out, k)
	}
	return out
}

// TestOneValueOfManyWriters lets eight writers put different values under one
// token at once: one of them wins, the others are told, and no value but the
// winner's is left.
func TestOneValueOfManyWriters(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	for round := range 20 {
		path := fmt.Sprint("contested-", round)
		token := secret.NewToken(secret.ID(path), "", "", 0)
		won := make(chan string, 8)
		var wg sync.WaitGroup
		for i := range 8 {
			d := open(t, js, masterKey(1))
			wg.Go(func() {
				value := fmt.Sprintf("Value-Of-Writer-%d!", i)
				switch _, err := d.Put(t.Context(), path, store.Write{Token: token, Value: secret.NewValue([]byte(value)), Create: true}); {
				case err == nil:
					won <- value
				case !errors.Is(err, store.ErrTokenReused) && !errors.Is(err, store.ErrConflict):
					t.Errorf("writer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		close(won)
		var winners []string
		for w := range won {
			winners = append(winners, w)
		}
		if len(winners) != 1 {
			t.Fatalf("%d writers think that their value was stored", len(winners))
		}
		if _, v, err := open(t, js, masterKey(1)).Get(t.Context(), path, store.Selector{Stage: secret.StagePending}); err != nil || !v.Equal(secret.NewValue([]byte(winners[0]))) {
			t.Errorf("the winner's value does not come back, err %v", err)
		}
		if left := allValues(t, js, path); len(left) != 1 {
			t.Errorf("%d values are left", len(left))
		}
	}
}

// TestAValueWithoutADocument is what a writer leaves that dies between the two:
// the next try is not disturbed, and retiring the version removes both.
func TestAValueWithoutADocument(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	d := open(t, js, masterKey(1))
	kv, err := js.KeyValue(t.Context(), natskv.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	token := secret.NewToken("one", "", "Value-Of-One-000!", 0)
	if _, err := kv.Put(t.Context(), "v.one."+string(token)+".ORPHAN", []byte("sealed")); err != nil {
		t.Fatal(err)
	}
	first := write(t, d, "one", "Value-Of-One-000!")
	if got := read(t, d, "one"); got != "Value-Of-One-000!" {
		t.Fatal("the value of the second try does not come back")
	}
	write(t, d, "one", "Value-Of-Two-000!")
	if err := d.Retire(t.Context(), "one", first, secret.RetireDelete); err != nil {
		t.Fatal(err)
	}
	if left := allValues(t, js, "one"); len(left) != 1 {
		t.Errorf("after it was retired there is %v, want the value of the current version", left)
	}
}

// TestKeysetRotation rotates the keyset while another process writes with the
// keyset it read before: every value stays readable by both, and by a third.
func TestKeysetRotation(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	one, two := open(t, js, masterKey(1)), open(t, js, masterKey(1))
	write(t, one, "old", "Value-Before-000!")
	for range 3 {
		if err := one.RotateKeyset(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	write(t, two, "new", "Value-After-0000!")
	for _, d := range []*natskv.Driver{one, two, open(t, js, masterKey(1))} {
		if got := read(t, d, "old") + read(t, d, "new"); got != "Value-Before-000!Value-After-0000!" {
			t.Errorf("read %d bytes that are not what was written", len(got))
		}
	}
	if err := two.ChangeMasterKey(t.Context(), masterKey(9)); err != nil {
		t.Fatal(err)
	}
	if got := read(t, open(t, js, masterKey(9)), "old"); got != "Value-Before-000!" {
		t.Error("the value does not open after the master key was changed")
	}
	if _, err := natskv.Open(t.Context(), natskv.Config{JS: js, MasterKey: masterKey(1)}); err == nil {
		t.Error("the old master key still opens the bucket")
	}

	// A process that runs with the old one reads on, and says why it cannot write.
	if got := read(t, one, "old"); got != "Value-Before-000!" {
		t.Error("the value does not open in a process that was running")
	}
	_, err := one.Put(t.Context(), "third", store.Write{Token: secret.NewToken("third", "", "", 0), Value: secret.NewValue([]byte("v")), Create: true})
	if !errors.Is(err, store.ErrAccessDenied) || !strings.Contains(err.Error(), "master_key") {
		t.Errorf("a write of a process with the old master key: %v, want access denied that names master_key", err)
	}
	write(t, two, "third", "Value-Third-0000!")
	if err := two.RotateKeyset(t.Context()); err != nil {
		t.Errorf("rotate the keyset under the new master key: %v", err)
	}
}

// TestKeysetRotationOfManyValues has more of them than the server hands out at
// once, and as many that are written meanwhile.
func TestKeysetRotationOfManyValues(t *testing.T) {
	t.Parallel()
	const n = 700
	js, _ := startServer(t)
	one, two := open(t, js, masterKey(1)), open(t, js, masterKey(1))
	for i := range n {
		write(t, one, fmt.Sprintf("many/%d", i), fmt.Sprintf("Value-%d-Before!", i))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n / 2 {
			write(t, two, fmt.Sprintf("many/%d", 2*i), fmt.Sprintf("Value-%d-Meanwhile!", 2*i))
		}
	})
	err := one.RotateKeyset(t.Context())
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	fresh := open(t, js, masterKey(1))
	for i := range n {
		want := fmt.Sprintf("Value-%d-Before!", i)
		if i%2 == 0 {
			want = fmt.Sprintf("Value-%d-Meanwhile!", i)
		}
		if read(t, fresh, fmt.Sprintf("many/%d", i)) != want {
			t.Fatalf("many/%d is not what was written", i)
		}
	}
}

// TestKeysetRotationsTogether: of two that rotate the keyset at once, neither
// takes away a key that the other still needs. The one that loses says so.
func TestKeysetRotationsTogether(t *testing.T) {
	t.Parallel()
	const n = 50
	js, _ := startServer(t)
	d := open(t, js, masterKey(1))
	for i := range n {
		write(t, d, fmt.Sprintf("both/%d", i), fmt.Sprintf("Value-%d-Of-Both!", i))
	}
	for range 5 {
		var wg sync.WaitGroup
		for range 3 {
			mine := open(t, js, masterKey(1))
			wg.Go(func() {
				if err := mine.RotateKeyset(t.Context()); err != nil && !errors.Is(err, store.ErrConflict) {
					t.Errorf("rotate: %v", err)
				}
			})
		}
		wg.Wait()
		fresh := open(t, js, masterKey(1))
		for i := range n {
			if read(t, fresh, fmt.Sprintf("both/%d", i)) != fmt.Sprintf("Value-%d-Of-Both!", i) {
				t.Fatalf("both/%d is not what was written", i)
			}
		}
	}
}

// TestAProcessOutlivesAChangeOfTheMasterKey reads throughout, and writes as soon
// as it can have the new key.
func TestAProcessOutlivesAChangeOfTheMasterKey(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	now := masterKey(1)
	running, err := natskv.Open(t.Context(), natskv.Config{JS: js, MasterKey: now, Reread: func() ([]byte, error) { return now, nil }})
	if err != nil {
		t.Fatal(err)
	}
	write(t, running, "old", "Value-Before-000!")
	if err := open(t, js, masterKey(1)).ChangeMasterKey(t.Context(), masterKey(2)); err != nil {
		t.Fatal(err)
	}
	if read(t, running, "old") != "Value-Before-000!" {
		t.Error("the value does not open after the master key was changed")
	}
	w := store.Write{Token: secret.NewToken("new", "", "", 0), Value: secret.NewValue([]byte("Value-After-0000!")), Create: true}
	if _, err := running.Put(t.Context(), "new", w); !errors.Is(err, store.ErrAccessDenied) || !strings.Contains(err.Error(), "master_key") {
		t.Errorf("a write with the old master key: %v, want access denied that names master_key", err)
	}
	now = masterKey(2)
	if _, err := running.Put(t.Context(), "new", w); err != nil {
		t.Errorf("with the new master key: %v", err)
	}
	if err := running.RotateKeyset(t.Context()); err != nil {
		t.Error(err)
	}
	if read(t, open(t, js, masterKey(2)), "old") != "Value-Before-000!" {
		t.Error("the value does not open with the new master key")
	}
}

// TestHistoryIsBounded rotates a secret whose versions are never retired: those long
// past lose their values, but for one that was kept on purpose.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	d := open(t, js, masterKey(1))
	const n = 150
	var all []secret.VersionID
	for i := range n {
		all = append(all, write(t, d, "long", fmt.Sprintf("Value-%d-Long!", i)))
		if i == 1 {
			if err := d.Retire(t.Context(), "long", all[0], secret.RetireKeep); err != nil {
				t.Fatal(err)
			}
		}
	}
	m, err := d.Describe(t.Context(), "long")
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Versions) > 130 {
		t.Errorf("the document has %d versions", len(m.Versions))
	}
	for i, want := range map[int]error{0: nil, 1: store.ErrNotFound, n - 110: store.ErrNoValue, n - 50: nil, n - 1: nil} {
		_, val, err := d.Get(t.Context(), "long", store.Selector{Version: all[i]})
		if !errors.Is(err, want) || want == nil && string(val.Reveal()) != fmt.Sprintf("Value-%d-Long!", i) {
			t.Errorf("version %d: %v, want %v", i, err, want)
		}
	}
}

func TestMasterKeyFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	made, err := natskv.GenerateMasterKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := natskv.LoadMasterKey(path); err != nil || !bytes.Equal(got, made) {
		t.Errorf("the key does not come back: %v", err)
	}
	if _, err := natskv.GenerateMasterKey(path); err == nil {
		t.Error("a master key was overwritten")
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := natskv.LoadMasterKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("err %v, want one that says chmod 600", err)
	}
	if _, err := natskv.ParseMasterKey("too short"); err == nil || !strings.Contains(err.Error(), "openssl rand -base64 32") {
		t.Errorf("err %v, want one that says how to make a key", err)
	}
}
