package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// TestExampleOfEachStore runs the example configuration of each store as a
// reader of the documents would, against a real server.
func TestExampleOfEachStore(t *testing.T) {
	t.Parallel()
	paths := map[string]string{"aws": "orders/db", "vault": "tradepulse/orders/db"}
	for name, open := range outsiders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			o.create(t, paths[name], "first", map[string]string{"rotator:managed": "true", "rotator:id": "ORDERS_DB", "rotator:ttl": "30d"})
			health := freeAddress(t)
			r := reader{t: t, env: append(o.env(), "STATE_DIRECTORY="+t.TempDir(), "ROTATOR_NODE_LISTEN="+freeAddress(t), "ROTATOR_HTTP_LISTEN="+health)}
			cfg := "docs/examples/" + name + ".yaml"
			r.run([]string{"rotator", "run", "--config", cfg})
			waittest.Until(t, "every secret has a version", func() error {
				out := r.node.out.String()
				if n := strings.Count(out, `"msg":"secret.rotated"`); n < 2 || !strings.Contains(out, `"msg":"secret.discovered"`) {
					return fmt.Errorf("%d of 2 secrets were made, or the third was not found:\n%s", n, out)
				}
				return nil
			})
			for _, id := range []string{"TRADEPULSE_ADMIN_TOKEN_ID", "TRADEPULSE_ADMIN_TOKEN_ID", "ORDERS_DB"} {
				p := r.start([]string{"rotator", "rotate", id, "--again", "--config", cfg})
				if code := p.wait(t); code != 0 || !strings.Contains(p.out.String(), " → ") {
					t.Fatalf("rotate %s: exit %d: %s", id, code, p.out)
				}
			}
			if o.read(t, paths[name]) == "first" {
				t.Error("the discovered secret has its old value")
			}
			p := r.start([]string{"rotator", "status", "--config", cfg})
			if code := p.wait(t); code != 0 || strings.Count(p.out.String(), "TRADEPULSE_") < 2 || !strings.Contains(p.out.String(), "ORDERS_DB") {
				t.Errorf("status: exit %d: %s", code, p.out)
			}
			if code := r.node.drain(t); code != 0 {
				t.Errorf("drain: exit %d:\n%s", code, r.node.out)
			}
		})
	}
}
