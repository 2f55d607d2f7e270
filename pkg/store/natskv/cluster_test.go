package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// TestOnACluster has the driver on three servers, each opened driver on the next.
func TestOnACluster(t *testing.T) {
	t.Parallel()
	cluster := serverstest.StartCluster(t)
	var opened atomic.Int32
	open := func(t *testing.T, bucket string) (*natskv.Driver, *nats.Conn) {
		t.Helper()
		nc := cluster.Connect(int(opened.Add(1)) % serverstest.ClusterSize)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		d, err := natskv.Open(t.Context(), natskv.Config{JS: js, Bucket: bucket, MasterKey: masterKey(1), Replicas: serverstest.ClusterSize})
		if err != nil {
			t.Fatal(err)
		}
		d.SetSettle(100 * time.Millisecond)
		return d, nc
	}
	t.Run("conformance", func(t *testing.T) {
		t.Parallel()
		conformOnACluster(t, cluster, func(t *testing.T) (*natskv.Driver, *nats.Conn) { t.Helper(); return open(t, "") })
	})
	t.Run("writers while the keyset rotates", func(t *testing.T) {
		t.Parallel()
		writeWhileTheKeysetRotates(t, func(t *testing.T) *natskv.Driver { t.Helper(); d, _ := open(t, "busy"); return d })
	})
}

func conformOnACluster(t *testing.T, cluster *serverstest.Cluster, clustered func(*testing.T) (*natskv.Driver, *nats.Conn)) {
	t.Helper()
	js, err := jetstream.New(cluster.Connect(0))
	if err != nil {
		t.Fatal(err)
	}
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		d, _ := clustered(t)
		return storetest.Harness{
			Driver:  d,
			Another: func(t *testing.T) store.Driver { t.Helper(); d, _ := clustered(t); return d },
			Cut:     func(t *testing.T) store.Driver { t.Helper(); d, nc := clustered(t); nc.Close(); return d },
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

// writeWhileTheKeysetRotates: writers of different secrets do not make each other
// fail, and every value stays readable.
func writeWhileTheKeysetRotates(t *testing.T, clustered func(*testing.T) *natskv.Driver) {
	t.Helper()
	const writers, each = 4, 15
	var wg sync.WaitGroup
	for w := range writers {
		d := clustered(t)
		wg.Go(func() {
			for i := range each {
				path := fmt.Sprintf("busy/%d/%d", w, i)
				token := secret.NewToken(secret.ID(path), "", "", 0)
				v, err := d.Put(t.Context(), path, store.Write{Token: token, Value: secret.NewValue([]byte("Value-Of-" + path)), Create: true})
				if err == nil {
					err = d.Promote(t.Context(), path, "", v.ID)
				}
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
		})
	}
	for range 2 {
		d := clustered(t)
		wg.Go(func() {
			for range 2 {
				if err := d.RotateKeyset(t.Context()); err != nil && !errors.Is(err, store.ErrConflict) {
					t.Errorf("rotate: %v", err)
				}
			}
		})
	}
	wg.Wait()
	fresh := clustered(t)
	for w := range writers {
		for i := range each {
			path := fmt.Sprintf("busy/%d/%d", w, i)
			if read(t, fresh, path) != "Value-Of-"+path {
				t.Fatalf("%s is not what was written", path)
			}
		}
	}
}
