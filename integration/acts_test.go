package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// TestActsOnTheStatusPage pauses, resumes and rotates on the page of a node, with the
// current value of a secret as the token. Each act is on record with its person and
// reason. A token that was rotated away is refused at once.
func TestActsOnTheStatusPage(t *testing.T) {
	t.Parallel()
	dir, health := t.TempDir(), freeAddress(t)
	cfg := filepath.Join(dir, "rotator.yaml")
	writeFile(t, cfg, fmt.Sprintf(`node: {data_dir: %q, listen: %q}
http: {listen: %q, admin_token: ADMIN}
log: {format: json}
stores: {main: {type: natskv}}
defaults: {create: true, no_subscribers: hold, ttl: 1h}
secrets: [{id: ADMIN}, {id: DB}]
`, filepath.Join(dir, "data"), freeAddress(t), health))
	node := start(t, "run", "--config", cfg)
	made := func(want int) {
		t.Helper()
		waittest.Until(t, "versions are made", func() error {
			if n := strings.Count(node.out.String(), `"msg":"secret.rotated"`); n < want {
				return fmt.Errorf("%d of %d:\n%s", n, want, node.out)
			}
			return nil
		})
	}
	made(2)
	value := func() string {
		t.Helper()
		out, code := rotator(t, "get", "ADMIN", "--reason", "test", "--config", cfg)
		if code != 0 {
			t.Fatalf("get: exit %d: %s", code, out)
		}
		return strings.TrimSpace(out)
	}
	act := func(act, id, token string) (int, string) {
		t.Helper()
		resp, err := http.PostForm("http://"+health+"/status/act", url.Values{"act": {act}, "secret": {id}, "by": {"ada"}, "reason": {"on the page"}, "token": {token}})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(body), token) {
			t.Error("the page has the token")
		}
		return resp.StatusCode, string(body)
	}
	first := value()
	if code, body := act("pause", "DB", "not-"+first); code != http.StatusForbidden {
		t.Errorf("with a wrong token: %d\n%s", code, body)
	}
	for _, what := range []string{"pause", "resume"} {
		if code, body := act(what, "DB", first); code != http.StatusOK {
			t.Errorf("%s: %d\n%s", what, code, body)
		}
	}
	if code, body := act("rotate", "ADMIN", first); code != http.StatusOK {
		t.Fatalf("rotate: %d\n%s", code, body)
	}
	made(3)
	if code, _ := act("rotate", "DB", first); code != http.StatusForbidden {
		t.Errorf("with the token before: %d", code)
	}
	if code, body := act("rotate", "DB", value()); code != http.StatusOK {
		t.Errorf("with the new token: %d\n%s", code, body)
	}
	for id, kinds := range map[string][]string{"DB": {"pause", "resume", "rotate"}, "ADMIN": {"rotate"}} {
		out, code := rotator(t, "history", id, "--config", cfg, "--json")
		for _, kind := range append(kinds, "/ada", "on the page") {
			if code != 0 || !strings.Contains(out, kind) {
				t.Errorf("history of %s: exit %d, without %q: %s", id, code, kind, out)
			}
		}
	}
}
