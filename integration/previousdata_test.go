package integration

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestTheDataOfTheVersionBefore: this version opens the streams and the store that the
// one before made, reads the value, and rotates it until the older one is retired.
func TestTheDataOfTheVersionBefore(t *testing.T) {
	t.Parallel()
	const value = "Made-By-The-Version-Before-1"
	b, prev, master := startBroker(t, true), buildPrevious(t), make([]byte, 32)
	if _, err := rand.Read(master); err != nil {
		t.Fatal(err)
	}
	keys, signer, trusted := newKeys(t)
	order, err := json.Marshal(map[string]any{
		"Make": true, "URL": b.server.Load().ClientURL(), "Master": master, "Signer": keys.seed,
		"Secrets": []map[string]any{{"ID": upgraded, "TTL": time.Hour, "Services": []string{"api"}, "Value": []byte(value)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: exec.Command(prev.program), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "ROTATOR_PREVIOUS="+string(order))
	p.run(t)
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit %d: %s", code, p.out)
	}
	b.stop() // as for an upgrade
	b.start()

	s := newSite(t, b, secret.Spec{ID: upgraded, Store: "embedded", TTL: time.Hour, Grace: time.Second, Fence: time.Second, Services: []string{"api"}})
	s.master, s.keys, s.signer, s.trusted = master, keys, signer, trusted
	m := &mixed{silentSite: &silentSite{site: s, t: t, nc: b.connect()}, previous: prev}
	t.Cleanup(m.nc.Close)
	m.ops, m.c = s.bus(m.nc, "ops"), s.catalog(m.nc)
	m.server(true)
	c := m.newer(t)
	defer c.Close(t.Context())
	got, err := c.Get(t.Context(), upgraded)
	if err != nil || string(got.Value.Reveal()) != value {
		t.Fatalf("%v: the service has another value than the version before stored", err)
	}
	last, err := m.ops.Last(t.Context(), events.TypeRotated, upgraded)
	if err != nil || last.Event.Data.VersionID != got.Version.ID {
		t.Errorf("%v: the log has %s last, the store %s", err, last.Event.Data.VersionID, got.Version.ID)
	}
	m.rotate(upgraded)
	m.reaches(upgraded, events.RolloutRetired)
}
