package secret_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

var errRefused = errors.New("the store cannot be reached or does not work")

// BenchmarkScrub is what an error costs that holds no value.
func BenchmarkScrub(b *testing.B) {
	v, err := secret.DefaultPolicy().Generate(nil)
	if err != nil {
		b.Fatal(err)
	}
	refused := fmt.Errorf("store main: put tradepulse/audit-key: %w: status 503: upstream connect error or disconnect before headers", errRefused)
	b.ReportAllocs()
	for b.Loop() {
		if secret.Scrub(refused, v) == nil {
			b.Fatal("no error")
		}
	}
}
