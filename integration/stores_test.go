package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
)

// TestExampleOfEachStore runs the example configuration of each store as a
// reader of the documents would, against a real server.
func TestExampleOfEachStore(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]func(*testing.T) []string{
		"aws": func(t *testing.T) []string {
			t.Helper()
			return []string{
				"AWS_ENDPOINT_URL=" + serverstest.StartMoto(t).URL, "AWS_REGION=eu-central-1",
				"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true",
			}
		},
		"vault": func(t *testing.T) []string {
			t.Helper()
			b := serverstest.StartBao(t)
			return []string{"VAULT_ADDR=" + b.URL, "VAULT_TOKEN=" + b.Root}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			health := freeAddress(t)
			r := reader{t: t, env: append(env(t), "STATE_DIRECTORY="+t.TempDir(), "ROTATOR_NODE_LISTEN="+freeAddress(t), "ROTATOR_HTTP_LISTEN="+health)}
			cfg := "docs/examples/" + name + ".yaml"
			r.run([]string{"rotator", "run", "--config", cfg})
			eventually(t, 30*time.Second, func() error {
				if n := strings.Count(r.node.out.String(), `"msg":"secret.rotated"`); n < 2 {
					return fmt.Errorf("%d of 2 secrets were made:\n%s", n, r.node.out)
				}
				return nil
			})
			for range 2 {
				p := r.start([]string{"rotator", "rotate", "TRADEPULSE_ADMIN_TOKEN_ID", "--config", cfg})
				<-p.done
				if code := p.cmd.ProcessState.ExitCode(); code != 0 || !strings.Contains(p.out.String(), " → ") {
					t.Fatalf("rotate: exit %d: %s", code, p.out)
				}
			}
			p := r.start([]string{"rotator", "status", "--config", cfg})
			<-p.done
			if code := p.cmd.ProcessState.ExitCode(); code != 0 || strings.Count(p.out.String(), "TRADEPULSE_") < 2 {
				t.Errorf("status: exit %d: %s", code, p.out)
			}
			if code := r.node.drain(t); code != 0 {
				t.Errorf("drain: exit %d:\n%s", code, r.node.out)
			}
		})
	}
}
