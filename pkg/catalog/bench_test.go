package catalog_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

// BenchmarkSpec looks secrets up by id. The time must not grow with their number;
// B/secret is the memory of a discovered one.
func BenchmarkSpec(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			cat, err := catalog.New(catalog.Config{})
			if err != nil {
				b.Fatal(err)
			}
			ids := make([]secret.ID, n)
			before := inUse()
			for i := range ids {
				ids[i] = secret.ID(fmt.Sprintf("tradepulse/prod/secret-%09d", i))
				if err := cat.Add(discovered(ids[i], string(ids[i]), "api")); err != nil {
					b.Fatal(err)
				}
			}
			each := float64(inUse()-before) / float64(n)
			i := 0
			for b.Loop() {
				if _, ok := cat.Spec(ids[i%n]); !ok {
					b.Fatal("it is not there")
				}
				i++
			}
			b.ReportMetric(each, "B/secret")
		})
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
