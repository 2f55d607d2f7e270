package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// interrupted is a JetStream that calls do at one of the publications of a
// process: the nth one on a key that begins with prefix, before it is sent or
// after it was stored.
type interrupted struct {
	jetstream.JetStream
	prefix string
	nth    int
	after  bool
	do     func()
}

func (i *interrupted) Publish(ctx context.Context, subject string, data []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return i.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: data}, opts...)
}

func (i *interrupted) PublishMsg(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	hit := strings.HasPrefix(strings.TrimPrefix(m.Subject, "$KV."+natskv.DefaultBucket+"."), i.prefix)
	if hit {
		i.nth--
	}
	if hit && i.nth == 0 && !i.after {
		i.do()
	}
	ack, err := i.JetStream.PublishMsg(ctx, m, opts...)
	if hit && i.nth == 0 && i.after {
		i.do()
	}
	return ack, err
}

// TestAWriterAndAKeysetRotation lets one of the two run from its beginning to its
// end at every point of the other, where each has read the keyset that the other
// replaces. Every value stays readable, also after one more rotation.
func TestAWriterAndAKeysetRotation(t *testing.T) {
	t.Parallel()
	rotate := func(t *testing.T, d *natskv.Driver) {
		t.Helper()
		if err := d.RotateKeyset(t.Context()); err != nil {
			t.Errorf("rotate the keyset: %v", err)
		}
	}
	for name, c := range map[string]struct {
		prefix string
		nth    int
		after  bool
		writer bool // is the one that is interrupted
	}{
		"before a writer stores its value":                {prefix: "v.", nth: 1, writer: true},
		"after a writer has stored its value":             {prefix: "v.", nth: 1, after: true, writer: true},
		"before a writer writes the document":             {prefix: "s.", nth: 1, writer: true},
		"after a writer has written the document":         {prefix: "s.", nth: 1, after: true, writer: true},
		"before a rotation stores the fresh key":          {prefix: "keyset", nth: 1},
		"after a rotation has stored the fresh key":       {prefix: "keyset", nth: 1, after: true},
		"before a rotation has sealed anything anew":      {prefix: "v.", nth: 1},
		"after a rotation has sealed a value anew":        {prefix: "v.", nth: 1, after: true},
		"before a rotation removes the keys before it":    {prefix: "keyset", nth: 2},
		"after a rotation has removed the keys before it": {prefix: "keyset", nth: 2, after: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js, _ := startServer(t)
			hook := &interrupted{JetStream: js, prefix: c.prefix, nth: c.nth, after: c.after, do: func() {}}
			write(t, open(t, js, masterKey(1)), "old", "Value-Before-000!")
			first, second := open(t, hook, masterKey(1)), open(t, js, masterKey(1))
			called := false
			hook.do = func() {
				called = true
				if c.writer {
					rotate(t, second)
				} else {
					write(t, second, "new", "Value-Meanwhile-0!")
				}
			}
			hook.nth = c.nth // what has been published so far does not count
			if c.writer {
				write(t, first, "new", "Value-Meanwhile-0!")
			} else {
				rotate(t, first)
			}
			if !called {
				t.Fatal("there was no such point")
			}
			for range 2 {
				fresh := open(t, js, masterKey(1))
				if got := read(t, fresh, "old") + read(t, fresh, "new"); got != "Value-Before-000!Value-Meanwhile-0!" {
					t.Errorf("read %d bytes that are not what was written", len(got))
				}
				rotate(t, fresh)
			}
		})
	}
}

// TestAWriterAndAChangeOfTheMasterKey changes the master key at every point of a
// writer that has the new one at hand: it goes on.
func TestAWriterAndAChangeOfTheMasterKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]interrupted{
		"before the value is stored":      {prefix: "v.", nth: 1},
		"after the value was stored":      {prefix: "v.", nth: 1, after: true},
		"before the document is written":  {prefix: "s.", nth: 1},
		"after the document was written":  {prefix: "s.", nth: 1, after: true},
		"and rotates the keyset, as well": {prefix: "v.", nth: 1, after: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js, _ := startServer(t)
			other := open(t, js, masterKey(1))
			c.JetStream = js
			c.do = func() {
				if err := other.ChangeMasterKey(t.Context(), masterKey(2)); err != nil {
					t.Error(err)
				}
				if strings.Contains(name, "keyset") {
					if err := other.RotateKeyset(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
			w, err := natskv.Open(t.Context(), natskv.Config{JS: &c, MasterKey: masterKey(1), Reread: func() ([]byte, error) { return masterKey(2), nil }})
			if err != nil {
				t.Fatal(err)
			}
			write(t, w, "new", "Value-Meanwhile-0!")
			fresh := open(t, js, masterKey(2))
			if got := read(t, fresh, "new"); got != "Value-Meanwhile-0!" {
				t.Errorf("read %d bytes that are not what was written", len(got))
			}
			if err := fresh.RotateKeyset(t.Context()); err != nil || read(t, open(t, js, masterKey(2)), "new") != "Value-Meanwhile-0!" {
				t.Errorf("the value does not outlive the next rotation of the keyset, err %v", err)
			}
		})
	}
}

// TestAChangeOfTheMasterKeyAmidAKeysetRotation: the rotation removes no key and
// says so; run again, it ends.
func TestAChangeOfTheMasterKeyAmidAKeysetRotation(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	other := open(t, js, masterKey(1))
	write(t, other, "old", "Value-Before-000!")
	hook := &interrupted{JetStream: js, prefix: "keyset", nth: 2, do: func() {
		if err := other.ChangeMasterKey(t.Context(), masterKey(2)); err != nil {
			t.Error(err)
		}
	}}
	d, err := natskv.Open(t.Context(), natskv.Config{JS: hook, MasterKey: masterKey(1), Reread: func() ([]byte, error) { return masterKey(2), nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.RotateKeyset(t.Context()); !errors.Is(err, store.ErrConflict) {
		t.Errorf("err %v, want a conflict", err)
	}
	if got := read(t, open(t, js, masterKey(2)), "old"); got != "Value-Before-000!" {
		t.Error("the value does not open")
	}
	if err := d.RotateKeyset(t.Context()); err != nil || read(t, open(t, js, masterKey(2)), "old") != "Value-Before-000!" {
		t.Errorf("the second try: %v", err)
	}
}

// TestAKeysetRotationPassesOverWhatNoDocumentRefersTo: a writer that died may
// leave a value that no key opens any more. A value that a document refers to is
// not passed over.
func TestAKeysetRotationPassesOverWhatNoDocumentRefersTo(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	d := open(t, js, masterKey(1))
	v := write(t, d, "one", "Value-Of-One-000!")
	kv, err := js.KeyValue(t.Context(), natskv.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	kept := values(t, kv, "v.one."+string(v))[0]
	for _, orphan := range []string{"v.one." + string(v) + ".ORPHAN", "v.two.v1.ORPHAN"} {
		if _, err := kv.Put(t.Context(), orphan, []byte("sealed by a key that is gone")); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.RotateKeyset(t.Context()); err != nil || read(t, open(t, js, masterKey(1)), "one") != "Value-Of-One-000!" {
		t.Errorf("with values that nothing refers to: %v", err)
	}
	if _, err := kv.Put(t.Context(), kept, []byte("sealed by a key that is gone")); err != nil {
		t.Fatal(err)
	}
	if err := d.RotateKeyset(t.Context()); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("with a value that a document refers to: %v, want that it is invalid", err)
	}
}

// TestAWriterThatCannotOpenTheKeysetLeavesNothing writes with an old master key,
// as often as a worker might.
func TestAWriterThatCannotOpenTheKeysetLeavesNothing(t *testing.T) {
	t.Parallel()
	js, _ := startServer(t)
	old := open(t, js, masterKey(1))
	if err := open(t, js, masterKey(1)).ChangeMasterKey(t.Context(), masterKey(2)); err != nil {
		t.Fatal(err)
	}
	token := secret.NewToken("new", "", "", 0)
	for i := range 3 {
		w := store.Write{Token: token, Value: secret.NewValue(fmt.Appendf(nil, "Value-%d-Never!", i)), Create: true}
		if _, err := old.Put(t.Context(), "new", w); !errors.Is(err, store.ErrAccessDenied) {
			t.Errorf("err %v, want access denied", err)
		}
	}
	kv, err := js.KeyValue(t.Context(), natskv.DefaultBucket)
	if err != nil {
		t.Fatal(err)
	}
	if left := values(t, kv, "v.new."+string(token)); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}
