package integration

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// keys are the signing key of a site, kept as a seed so that another process
// can be given it.
type keys struct{ seed []byte }

func newKeys(t testing.TB) (keys, *events.Signer, *events.Verifier) {
	t.Helper()
	k := keys{seed: make([]byte, ed25519.SeedSize)}
	if _, err := rand.Read(k.seed); err != nil {
		t.Fatal(err)
	}
	signer, trusted, err := k.open()
	if err != nil {
		t.Fatal(err)
	}
	return k, signer, trusted
}

func (k keys) open() (*events.Signer, *events.Verifier, error) {
	signer, err := events.NewSigner(ed25519.NewKeyFromSeed(k.seed))
	if err != nil {
		return nil, nil, err
	}
	return signer, events.NewVerifier(signer.Public()), nil
}

// open connects a worker process to what it was ordered to work on.
func (o crashOrder) open(ctx context.Context, nc *nats.Conn, b *boundaries) (*events.Bus, catalogued, error) {
	signer, trusted, err := keys{o.Signer}.open()
	if err != nil {
		return nil, catalogued{}, err
	}
	quiet := slog.New(slog.DiscardHandler)
	bus, err := events.New(nc, events.Config{Source: "/test/crash", Signer: signer, Verifier: trusted, Logger: quiet})
	if err != nil {
		return nil, catalogued{}, err
	}
	d, err := o.Service.open(ctx, nc, o.Master)
	if err != nil {
		return nil, catalogued{}, err
	}
	st, err := store.New("embedded", crashDriver{d, b}, &store.Options{Logger: quiet})
	if err != nil {
		return nil, catalogued{}, err
	}
	c, err := manage([]secret.Spec{o.Spec}, st)
	return bus, c, err
}

// logOf returns every event of a type in the log, oldest first, by secret.
func logOf(t testing.TB, nc *nats.Conn, kind events.Type) map[secret.ID][]events.Data {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	names := events.Names{}
	c, err := js.OrderedConsumer(t.Context(), names.RotatedStream(), jetstream.OrderedConsumerConfig{FilterSubjects: []string{names.Event(kind, ">")}})
	if err != nil {
		t.Fatal(err)
	}
	out := map[secret.ID][]events.Data{}
	for left := c.CachedInfo().NumPending; left > 0; {
		batch, err := c.Fetch(int(min(left, 500)))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			var d events.Data
			if err := json.Unmarshal(m.Data(), &d); err != nil {
				t.Fatal(err)
			}
			out[d.SecretID] = append(out[d.SecretID], d)
			left--
		}
		if err := batch.Error(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

var build struct {
	once sync.Once
	dir  string
	err  error
}

// binaries builds the programs once and returns their folder.
func binaries(t *testing.T) string {
	t.Helper()
	build.once.Do(func() {
		build.dir, build.err = os.MkdirTemp("", "rotator-bin-") //nolint:usetesting // it outlives the test that builds
		if build.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-race", "-o", build.dir+string(filepath.Separator), "../cmd/rotator", "../cmd/notifier")
		cmd.Stderr = os.Stderr
		build.err = cmd.Run()
	})
	if build.err != nil {
		t.Fatalf("build the programs: %v", build.err)
	}
	return build.dir
}
