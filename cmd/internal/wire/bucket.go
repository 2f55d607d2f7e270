package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// bucket opens an embedded store; what does not make things makes no bucket.
func (o Options) bucket(ctx context.Context, nc *nats.Conn, s *config.NATSKV) (*natskv.Driver, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	key, err := o.firstMasterKey(ctx, js, s)
	if err != nil {
		return nil, err
	}
	return natskv.Open(ctx, natskv.Config{
		JS: js, Bucket: s.Bucket, Replicas: cmp.Or(s.Replicas, o.Config.NATS.Replicas), MasterKey: key,
		Reread: func() ([]byte, error) { return o.masterKey(s) }, Next: func() ([]byte, error) { return o.nextMasterKey(s) }, Existing: !o.Make,
	})
}

// probes returns what is probed of the buckets that o opens.
func (o Options) probes() []events.Probe {
	if !o.Stores || !o.Make {
		return nil
	}
	var out []events.Probe
	for _, s := range config.StoresOf[*config.NATSKV](o.Config) {
		stream, subject := natskv.Probe(s.Bucket)
		out = append(out, events.Probe{Stream: stream, Subject: subject})
	}
	return out
}

// Bucket is one embedded store, without what else a program works with.
type Bucket struct {
	*natskv.Driver
	// MasterKey says where its master key is kept.
	MasterKey config.Ref
	conn      *nats.Conn
}

// OpenBucket opens an embedded store of the configuration. It waits for the bus
// as long as ctx lives.
func OpenBucket(ctx context.Context, o Options, name string) (*Bucket, error) {
	s, ok := config.StoresOf[*config.NATSKV](o.Config)[name]
	if !ok {
		return nil, fmt.Errorf("store %s: it is not of type natskv", name)
	}
	nc, err := o.connect(ctx)
	if err != nil {
		return nil, err
	}
	d, err := o.bucket(ctx, nc, s)
	if err != nil {
		nc.Close()
		return nil, err
	}
	ref, _ := s.Key(o.DataDir)
	return &Bucket{Driver: d, MasterKey: ref, conn: nc}, nil
}

// Close closes the store and the connection.
func (b *Bucket) Close() error {
	err := b.Driver.Close()
	b.conn.Close()
	return err
}

// firstMasterKey is masterKey for the start. A single node without a key makes one,
// unless the bucket is sealed already: another key opens nothing, and lies in the way
// of the right one.
func (o Options) firstMasterKey(ctx context.Context, js jetstream.JetStream, s *config.NATSKV) ([]byte, error) {
	key, err := o.masterKey(s)
	ref, own := s.Key(o.DataDir)
	if !errors.Is(err, os.ErrNotExist) || ref.File == "" || !own || !o.Make {
		return key, err
	}
	sealed, serr := natskv.Sealed(ctx, js, s.Bucket)
	if serr != nil {
		return nil, serr
	}
	if sealed {
		return nil, fmt.Errorf("%w: the bucket is sealed by the key that was there; put that back", err)
	}
	return natskv.GenerateMasterKey(ref.File)
}

func (o Options) masterKey(s *config.NATSKV) ([]byte, error) {
	ref, _ := s.Key(o.DataDir)
	if ref.File != "" {
		return natskv.LoadMasterKey(ref.File)
	}
	v, err := ref.Read(o.lookup())
	if err != nil {
		return nil, fmt.Errorf("master key: %w", err)
	}
	return natskv.ParseMasterKey(string(v.Reveal()))
}

// NextMasterKey is what the name of a file with a master key is followed by while the
// key is rotated.
const NextMasterKey = ".next"

// nextMasterKey is the key of a rotation that has not come to its end.
func (o Options) nextMasterKey(s *config.NATSKV) ([]byte, error) {
	ref, _ := s.Key(o.DataDir)
	if ref.File == "" {
		return nil, os.ErrNotExist
	}
	return natskv.LoadMasterKey(ref.File + NextMasterKey)
}
