package natskv_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// TestVersionsAreDatedByTheServer: the clock of the writer is years behind, as that of
// a synctest bubble is, and the server is outside of it.
func TestVersionsAreDatedByTheServer(t *testing.T) {
	t.Parallel()
	// A pipe would carry channels of the bubble out of it.
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("nats-server did not start")
	}
	_, js := connect(t, s)
	reader := open(t, js, masterKey(1))
	begin := time.Now()
	synctest.Test(t, func(t *testing.T) {
		nc, err := nats.Connect(s.ClientURL())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		d, err := natskv.Open(t.Context(), natskv.Config{JS: js, MasterKey: masterKey(1), Existing: true})
		if err != nil {
			t.Fatal(err)
		}
		if behind := time.Until(begin); behind < 24*time.Hour {
			t.Fatalf("the clock of the writer is only %s behind", behind)
		}
		for path, w := range map[string]store.Write{"one": {}, "two": {NotAfter: begin.Add(time.Minute)}} {
			w.Token, w.Value, w.Lifetime, w.Create = secret.NewToken(secret.ID(path), "", "", 0), secret.NewValue([]byte("Value-Of-One-000!")), 30*time.Second, true
			if _, err := d.Put(t.Context(), path, w); err != nil {
				t.Fatal(err)
			}
		}
		if ahead, known := d.Skew(); !known || ahead < time.Until(begin) || ahead > time.Until(begin)+time.Hour {
			t.Errorf("the server is ahead by %s, known: %t", ahead, known)
		}
	})
	for _, path := range []string{"one", "two"} {
		m, err := reader.Describe(t.Context(), path)
		if err != nil || len(m.Versions) != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		v := m.Versions[0]
		if v.CreatedAt.Before(begin.Add(-time.Second)) || v.CreatedAt.After(time.Now()) || !v.NotAfter.Equal(v.CreatedAt.Add(30*time.Second)) {
			t.Errorf("%s: made at %s, ends at %s; want within [%s, now] and 30 s later", path, v.CreatedAt, v.NotAfter, begin)
		}
	}
}
