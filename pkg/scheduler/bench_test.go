package scheduler_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// listing is a store that lists secrets which it does not keep.
type listing struct {
	*storetest.Mem
	n    int
	made time.Time
}

func (l *listing) secret(path string) secret.Metadata {
	return secret.Metadata{
		Path: path, Versions: []secret.Version{{ID: secret.VersionID("v-" + path), Stage: secret.StageCurrent, CreatedAt: l.made}},
		Attributes: map[string]string{catalog.TagManaged: "true", "rotator:services": "api", "rotator:window": "Sat Sun 01:00 6h Europe/Vienna"},
	}
}

func (l *listing) List(context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		for i := range l.n {
			if !yield(l.secret(fmt.Sprintf("apps/secret-%07d", i)), nil) {
				return
			}
		}
	}
}

func (l *listing) Describe(_ context.Context, path string) (secret.Metadata, error) {
	return l.secret(path), nil
}

// BenchmarkSweep sweeps discovered secrets that have not changed: the time for one
// of them must not grow with their number. One sweep in twelve reads the bus
// again, so it takes a multiple of twelve to be fair.
func BenchmarkSweep(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			quiet := slog.New(slog.DiscardHandler)
			st, err := store.New("main", &listing{storetest.NewMem(nil), n, time.Now()}, &store.Options{Logger: quiet})
			if err != nil {
				b.Fatal(err)
			}
			stores, err := store.NewSet(st)
			if err != nil {
				b.Fatal(err)
			}
			tagged := &catalog.Discovery{Store: "main", Match: map[string]string{catalog.TagManaged: ""}, Defaults: secret.Spec{TTL: 90 * 24 * time.Hour}}
			c, err := catalog.New(catalog.Config{Stores: stores, Discoveries: []*catalog.Discovery{tagged}})
			if err != nil {
				b.Fatal(err)
			}
			s, err := scheduler.New(scheduler.Config{Catalog: c, Stores: stores, Bus: eventstest.NewServer(b).NewBus(events.StreamOptions{Memory: true}), Source: "/test", Logger: quiet})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Sweep(b.Context()); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := s.Sweep(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/secret")
		})
	}
}
