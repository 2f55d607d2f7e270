// Package generate compares making a value with what its random bytes cost
// alone and with a generator that many Go programs use.
package generate

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/sethvargo/go-password/password"

	"github.com/tradepulse/rotator/pkg/secret"
)

const length = 32

// BenchmarkGenerate makes values of 32 characters with upper and lower case,
// digits and symbols, in turn with the other two, so that all three see the
// same machine.
func BenchmarkGenerate(b *testing.B) {
	policy := secret.DefaultPolicy()
	if v, err := policy.Generate(nil); err != nil || v.Len() != length {
		b.Fatalf("the default policy makes %d characters, want %d, err %v", v.Len(), length, err)
	}
	var raw [48]byte
	var ours, bytes, other time.Duration
	n := 0
	for b.Loop() {
		ours += timed(b, func() error { _, err := policy.Generate(nil); return err })
		bytes += timed(b, func() error { _, err := rand.Read(raw[:]); return err })
		other += timed(b, func() error { _, err := password.Generate(length, length/4, length/4, false, true); return err })
		n += batch
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(ours.Nanoseconds())/float64(n), "ns/value")
	b.ReportMetric(float64(ours)/float64(bytes), "of-one-rand-read")
	b.ReportMetric(float64(other)/float64(ours), "times-faster-than-go-password")
	b.ReportMetric(testing.AllocsPerRun(1000, func() { _, _ = policy.Generate(nil) }), "allocs")
}

// batch is how many values are made before it is the next one's turn.
const batch = 1000

func timed(b *testing.B, make func() error) time.Duration {
	b.Helper()
	begin := time.Now()
	for range batch {
		if err := make(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(begin)
}
