package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// TestTheExamplesReloadOnSIGHUP: each of them holds what its configuration says then,
// and goes on.
func TestTheExamplesReloadOnSIGHUP(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "service.yaml")
	writeFile(t, file, "store: env\n")
	inGo, goAddress := goExample(t, append(inDevelopment, "ROTATOR_CLIENT_CONFIG="+file, "ANOTHER_SECRET=Another-Value-For-Tests-1")...)
	inPython, pythonAddress := fastAPIExample(t, inDevelopment...)
	for address, p := range map[string]*program{goAddress: inGo, pythonAddress: inPython} {
		waittest.Until(t, "the service answers", func() error { return get(t, "http://"+address+"/metrics", nil) })
		if p == inGo {
			writeFile(t, file, "store: env\nsecrets: {ANOTHER_SECRET_ID: ANOTHER_SECRET_ID}\n")
		}
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		waittest.Until(t, "the service has reloaded", func() error {
			if !strings.Contains(p.out.String(), "secret.reloaded") {
				return fmt.Errorf("the log does not say secret.reloaded:\n%s", p.out)
			}
			return get(t, "http://"+address+"/metrics", nil)
		})
	}
	waittest.Until(t, "the service in Go exports what was added", func() error {
		var body string
		if err := get(t, "http://"+goAddress+"/metrics", &body); err != nil || !strings.Contains(body, `secret_age_seconds{secret_id="ANOTHER_SECRET_ID"}`) {
			return fmt.Errorf("the answer has no age of it (%w):\n%s", err, body)
		}
		return nil
	})
}
