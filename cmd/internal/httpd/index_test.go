package httpd_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/httpd"
)

// TestTheRootSaysWhatThereIs: with 404, as before.
func TestTheRootSaysWhatThereIs(t *testing.T) {
	s := start(t, httpd.Config{Metrics: http.NotFoundHandler()})
	code, _, body := do(t, http.MethodGet, s.URL()+"/")
	if code != http.StatusNotFound || strings.TrimSpace(body) != "not found; see /healthz, /metrics, /readyz" {
		t.Errorf("%d %q", code, body)
	}
}
