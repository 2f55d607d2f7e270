package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/tradepulse/rotator/cmd/internal/telemetry"
	"github.com/tradepulse/rotator/pkg/secret"
)

// quiet takes every OTEL_* variable of the developer's shell away.
func quiet(t *testing.T) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
}

func setup(t *testing.T, o telemetry.Options) *telemetry.Telemetry {
	t.Helper()
	o.Service, o.Version, o.LogWriter = "rotator", "1.2.3", io.Discard
	tel, err := telemetry.Setup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

func scrape(t *testing.T, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetricsAreScrapable(t *testing.T) {
	quiet(t)
	tel := setup(t, telemetry.Options{Instance: "i-1"})
	m := tel.MeterProvider.Meter("test")
	count, err := m.Int64Counter("secret.near_expiry", metric.WithUnit("{event}"))
	if err != nil {
		t.Fatal(err)
	}
	took, err := m.Float64Histogram("rotator.rotation.duration", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	count.Add(t.Context(), 3, metric.WithAttributes(attribute.String("reason", "expired")))
	took.Record(t.Context(), 0.003)
	got := scrape(t, tel.Metrics)
	for _, want := range []string{
		"secret_near_expiry_total{reason=\"expired\"} 3\n",
		`rotator_rotation_duration_seconds_bucket{le="0.0025"} 0`,
		`rotator_rotation_duration_seconds_bucket{le="0.005"} 1`,
		`service_name="rotator"`, `service_version="1.2.3"`, `service_instance_id="i-1"`,
		"go_goroutines ", "process_start_time_seconds ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSetupsDoNotShareMetrics(t *testing.T) {
	quiet(t)
	a, b := setup(t, telemetry.Options{}), setup(t, telemetry.Options{})
	count, err := a.MeterProvider.Meter("test").Int64Counter("only.in.a")
	if err != nil {
		t.Fatal(err)
	}
	count.Add(t.Context(), 1)
	if strings.Contains(scrape(t, b.Metrics), "only_in_a") || !strings.Contains(scrape(t, a.Metrics), "only_in_a") {
		t.Error("a metric of one registry shows in the other, or not in its own")
	}
}

func TestSpansReachTheProcessorsWithTheResource(t *testing.T) {
	quiet(t)
	spans := tracetest.NewInMemoryExporter()
	tel := setup(t, telemetry.Options{SpanProcessors: []sdktrace.SpanProcessor{sdktrace.NewSimpleSpanProcessor(spans)}})
	_, span := tel.TracerProvider.Tracer("test").Start(t.Context(), "rotation")
	v := secret.NewValue([]byte(canary))
	span.SetAttributes(attribute.Stringer("v", v), attribute.String("w", fmt.Sprint(v)))
	span.RecordError(fmt.Errorf("put %v", v))
	span.End()
	got := spans.GetSpans()
	if len(got) != 1 || got[0].Name != "rotation" {
		t.Fatalf("got %v", got)
	}
	if strings.Contains(fmt.Sprintf("%+v", got), canary) {
		t.Error("the value is in the span")
	}
	if name, _ := got[0].Resource.Set().Value("service.name"); name.AsString() != "rotator" {
		t.Errorf("service.name is %q", name.AsString())
	}
}

func TestEnvironmentOverridesTheResource(t *testing.T) {
	quiet(t)
	t.Setenv("OTEL_SERVICE_NAME", "rotator-eu")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=prod")
	got := scrape(t, setup(t, telemetry.Options{}).Metrics)
	for _, want := range []string{`service_name="rotator-eu"`, `deployment_environment_name="prod"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

// collector is an OTLP endpoint that notes which paths were posted to.
type collector struct {
	*httptest.Server
	mu   sync.Mutex
	got  map[string]int
	body bytes.Buffer
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{got: map[string]int{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got[r.URL.Path]++
		_, _ = io.Copy(&c.body, r.Body)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) posts(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got[path]
}

func TestShutdownFlushesToOTLP(t *testing.T) {
	quiet(t)
	c := newCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	tel := setup(t, telemetry.Options{})
	_, span := tel.TracerProvider.Tracer("test").Start(t.Context(), "rotation")
	span.End()
	count, err := tel.MeterProvider.Meter("test").Int64Counter("secret.rotated")
	if err != nil {
		t.Fatal(err)
	}
	count.Add(t.Context(), 1)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c.posts("/v1/traces") != 1 || c.posts("/v1/metrics") != 1 {
		t.Errorf("got posts %v", c.got)
	}
	if !strings.Contains(c.body.String(), "secret.rotated") || !strings.Contains(c.body.String(), "rotation") {
		t.Error("neither the span nor the metric is in what was posted")
	}
}

func TestSignalsAreSentOnlyWhenAskedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		env             map[string]string
		traces, metrics int
	}{
		"an endpoint for both":        {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL"}, 1, 1},
		"an endpoint for traces only": {map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "URL/v1/traces"}, 1, 0},
		"metrics switched off":        {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_METRICS_EXPORTER": "none"}, 1, 0},
		"the SDK disabled":            {map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "URL", "OTEL_SDK_DISABLED": "true"}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			quiet(t)
			c := newCollector(t)
			for k, v := range tt.env {
				t.Setenv(k, strings.Replace(v, "URL", c.URL, 1))
			}
			tel := setup(t, telemetry.Options{})
			_, span := tel.TracerProvider.Tracer("test").Start(t.Context(), "rotation")
			span.End()
			if g, err := tel.MeterProvider.Meter("test").Int64Counter("c"); err == nil {
				g.Add(t.Context(), 1)
			}
			if err := tel.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.posts("/v1/traces") != tt.traces || c.posts("/v1/metrics") != tt.metrics {
				t.Errorf("got posts %v, want %d of traces and %d of metrics", c.got, tt.traces, tt.metrics)
			}
		})
	}
}

// Without any OTEL_* variable there is no exporter, so no goroutine of one, and
// nothing that could try to reach localhost:4318.
func TestNothingRunsWithoutTheEnvironmentAsking(t *testing.T) {
	quiet(t)
	before := goleak.IgnoreCurrent()
	tel := setup(t, telemetry.Options{})
	_, span := tel.TracerProvider.Tracer("test").Start(t.Context(), "rotation")
	span.End()
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
	if !span.SpanContext().TraceID().IsValid() {
		t.Error("a span without an exporter has no trace id to log and to pass on")
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	quiet(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // accepts, never answers
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	tel := setup(t, telemetry.Options{})
	_, span := tel.TracerProvider.Tracer("test").Start(t.Context(), "rotation")
	span.End()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tel.Shutdown(ctx); err == nil {
		t.Error("no error though nothing was sent")
	}
}

func TestSetupRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		opts telemetry.Options
		env  string
		want string
	}{
		"no service":          {telemetry.Options{}, "", "service is required"},
		"a bad log level":     {telemetry.Options{Service: "s", LogLevel: "loud"}, "", "log level"},
		"an unknown exporter": {telemetry.Options{Service: "s"}, "pigeon", "pigeon"},
	} {
		t.Run(name, func(t *testing.T) {
			quiet(t)
			t.Setenv("OTEL_TRACES_EXPORTER", tt.env)
			_, err := telemetry.Setup(t.Context(), tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestSetGlobal(t *testing.T) {
	quiet(t)
	old := slog.Default()
	t.Cleanup(func() { slog.SetDefault(old) })
	var buf bytes.Buffer
	tel, err := telemetry.Setup(t.Context(), telemetry.Options{Service: "rotator", LogWriter: &buf})
	if err != nil {
		t.Fatal(err)
	}
	tel.SetGlobal()
	if otel.GetTracerProvider() != tel.TracerProvider || otel.GetMeterProvider() != tel.MeterProvider {
		t.Error("the global providers are others")
	}
	for range 3 {
		otel.Handle(fmt.Errorf("exporter down"))
	}
	if got := strings.Count(buf.String(), "exporter down"); got != 1 {
		t.Errorf("the error is logged %d times: %s", got, &buf)
	}
	slog.Info("through the default")
	if !strings.Contains(buf.String(), "through the default") {
		t.Error("slog's default is another")
	}
}
