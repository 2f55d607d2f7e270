package secret_test

import (
	"crypto/rand"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

func BenchmarkGenerate(b *testing.B) {
	p := secret.DefaultPolicy()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Generate(nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRandRead48 is what the random bytes of one value cost alone.
func BenchmarkRandRead48(b *testing.B) {
	var buf [48]byte
	b.ReportAllocs()
	for b.Loop() {
		_, _ = rand.Read(buf[:])
	}
}
