package telemetry_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/telemetry"
)

// TestCloseLogsWhatIsLost: a collector that is down is a warning, and the version
// is on /metrics whatever the collector does.
func TestCloseLogsWhatIsLost(t *testing.T) {
	quiet(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // accepts, never answers
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	var log bytes.Buffer
	tel, err := telemetry.Setup(t.Context(), telemetry.Options{Service: "rotator", Version: "1.2.3", LogWriter: &log})
	if err != nil {
		t.Fatal(err)
	}
	if text := scrape(t, tel.Metrics); !strings.Contains(text, `rotator_build_info{version="1.2.3"} 1`) {
		t.Errorf("/metrics has no version:\n%s", text)
	}
	_, span := tel.TracerProvider.Tracer("test").Start(t.Context(), "rotation")
	span.End()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that it gives up at once
	tel.Close(ctx)
	if !strings.Contains(log.String(), "telemetry.lost") {
		t.Errorf("the log is\n%s", &log)
	}
}
