package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
)

// BenchmarkLambdaColdStart measures the bootstrap as it is released: until it
// asks for its first invocation, until it has answered one that reads a secret,
// and until it has answered the next.
func BenchmarkLambdaColdStart(b *testing.B) {
	moto := serverstest.StartMoto(b)
	dir := b.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", filepath.Join(dir, "bootstrap"), "../cmd/rotator")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	config := fmt.Sprintf("nats: {url: 'nats://127.0.0.1:1'}\nstores: {main: {type: aws, endpoint: %q}}\nsecrets: [{id: ONE}]\n", moto.URL)
	if err := os.WriteFile(filepath.Join(dir, "rotator.yaml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	var starts, firsts, nexts time.Duration
	for b.Loop() {
		fn := serverstest.NewLambda(b, filepath.Join(dir, "bootstrap"))
		begin := time.Now()
		ready, err := fn.Start()
		if err != nil {
			b.Fatalf("%v\n%s", err, fn.Output())
		}
		for _, total := range []*time.Duration{&firsts, &nexts} {
			if _, err := fn.Invoke(`{"action":"plan"}`, fnTimeout); err != nil {
				b.Fatalf("%v\n%s", err, fn.Output())
			}
			*total += time.Since(begin)
			begin = time.Now()
		}
		starts += ready
		fn.Kill()
	}
	n := float64(b.N)
	b.ReportMetric(float64(starts.Microseconds())/1000/n, "ms/start")
	b.ReportMetric(float64(firsts.Microseconds())/1000/n, "ms/first-answer")
	b.ReportMetric(float64(nexts.Microseconds())/1000/n, "ms/next-answer")
}
