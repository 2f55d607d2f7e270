package running

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

// TestAHangupIsCompared: what a restart would change is logged, and what is wrong with the
// file; the program goes on.
func TestAHangupIsCompared(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	write := func(ttl, agent string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("stores: {main: {type: natskv}}\nsecrets: [{id: A, ttl: "+ttl+"}]\n"+agent), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("1h", "")
	cfg, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		hangup, done := make(chan os.Signal), make(chan error, 1)
		var out bytes.Buffer
		go func() { done <- Compare(ctx, cfg, file, nil, hangup, slog.New(slog.NewTextHandler(&out, nil))) }()
		for _, c := range [][2]string{{"1h", ""}, {"2h", ""}, {"soon", ""}, {"1h", "agent: {service: api}\n"}} {
			write(c[0], c[1])
			hangup <- syscall.SIGHUP
			synctest.Wait()
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			_, line, _ = strings.Cut(line, "msg=")
			line, _, _ = strings.Cut(line, " ")
			got = append(got, line)
		}
		if want := "config.unchanged config.restart_needed config.rejected config.restart_needed"; strings.Join(got, " ") != want || !strings.Contains(out.String(), "changed A (ttl)") || !strings.Contains(out.String(), "agent.service") {
			t.Errorf("the log is\n%s\nwant %s", out.String(), want)
		}
	})
}
