package running

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

// TestAnAgentLoadsItsFile: what has changed is applied once, what takes a restart is named,
// and a file that is wrong, or that the agent refuses, changes nothing.
func TestAnAgentLoadsItsFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	write := func(ttl, more string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("stores: {main: {type: natskv}}\nsecrets: [{id: A, ttl: "+ttl+"}]\n"+more), 0o600); err != nil {
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
		var applied []string
		a := &Agent{Config: cfg, File: file, Hangup: hangup, Logger: slog.New(slog.NewTextHandler(&out, nil)), Apply: func(_ context.Context, next *config.Config) error {
			if next.Agent.Service == "refused" {
				return errors.New("no such user")
			}
			applied = append(applied, fmt.Sprint(time.Duration(next.Secrets[0].TTL), next.Agent.Service))
			return nil
		}}
		go func() { done <- a.Run(ctx) }()
		for _, c := range [][2]string{{"1h", ""}, {"2h", ""}, {"2h", ""}, {"soon", ""}, {"2h", "agent: {service: refused}\n"}, {"2h", "agent: {service: api}\n"}, {"2h", "agent: {service: api}\nlog: {level: debug}\n"}} {
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
		if want := "config.unchanged config.loaded config.unchanged config.rejected config.rejected config.loaded config.restart_needed"; strings.Join(got, " ") != want {
			t.Errorf("the log is\n%s\nwant %s", out.String(), want)
		}
		if got := strings.Join(applied, " "); got != "2h0m0s 2h0m0sapi" {
			t.Errorf("applied %q", got)
		}
		for _, text := range []string{"changed A (ttl)", "agent.service", "no such user", "log.level"} {
			if !strings.Contains(out.String(), text) {
				t.Errorf("no %q in\n%s", text, out.String())
			}
		}
	})
}
