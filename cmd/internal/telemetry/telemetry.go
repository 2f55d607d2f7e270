package telemetry

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// shutdownTimeout bounds [Telemetry.Shutdown] when its context has no deadline.
const shutdownTimeout = 5 * time.Second

// Options say who speaks and how. Service is required.
type Options struct {
	// Service and Version are the service.name and service.version of every
	// signal. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override them.
	Service, Version string
	// Instance is the service.instance.id; "" means a random one.
	Instance string

	// LogWriter takes the log lines; nil means os.Stderr.
	LogWriter io.Writer
	// LogLevel is debug, info, warn or error; "" means info.
	LogLevel string
	// LogFormat is text, json or auto: text when LogWriter is a terminal, else
	// json. "" means auto.
	LogFormat string

	// SpanProcessors get every span besides what the environment asks for.
	SpanProcessors []sdktrace.SpanProcessor
	// Readers read every metric besides /metrics and what the environment asks
	// for.
	Readers []sdkmetric.Reader
}

// Telemetry is what [Setup] made. Pass the parts to those who take them, or
// make them the defaults of the process with [Telemetry.SetGlobal].
type Telemetry struct {
	Logger         *slog.Logger
	MeterProvider  *sdkmetric.MeterProvider
	TracerProvider *sdktrace.TracerProvider
	// Propagator carries W3C trace context and baggage.
	Propagator propagation.TextMapPropagator
	// Metrics serves the Prometheus exposition, with the Go runtime's and the
	// process's own metrics.
	Metrics http.Handler
}

// Setup returns working telemetry, or an error when an option or an OTEL_*
// variable is not understood. It does not wait for an OTLP endpoint: one that
// is down is a log line later on.
func Setup(ctx context.Context, o Options) (*Telemetry, error) {
	log, err := NewLogger(o.LogWriter, o.LogLevel, o.LogFormat)
	if err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	res, err := describe(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("telemetry: OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &Telemetry{
		Logger:     log,
		Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}),
	}
	if t.TracerProvider, err = newTracerProvider(ctx, res, o.SpanProcessors); err != nil {
		return nil, fmt.Errorf("telemetry: traces: %w", err)
	}
	if t.MeterProvider, t.Metrics, err = newMeterProvider(ctx, res, o.Readers); err != nil {
		return nil, errors.Join(fmt.Errorf("telemetry: metrics: %w", err), t.TracerProvider.Shutdown(ctx))
	}
	if err = buildInfo(t.MeterProvider, o.Version); err != nil {
		return nil, errors.Join(fmt.Errorf("telemetry: metrics: %w", err), t.MeterProvider.Shutdown(ctx), t.TracerProvider.Shutdown(ctx))
	}
	return t, nil
}

// SetGlobal makes t the default of slog and of OpenTelemetry in this process.
// What OpenTelemetry itself has to report goes to the log from then on, at most
// once in ten seconds.
func (t *Telemetry) SetGlobal() {
	slog.SetDefault(t.Logger)
	otel.SetLogger(logr.FromSlogHandler(t.Logger.Handler()))
	otel.SetErrorHandler(newErrorHandler(t.Logger))
	otel.SetTextMapPropagator(t.Propagator)
	otel.SetTracerProvider(t.TracerProvider)
	otel.SetMeterProvider(t.MeterProvider)
}

// Shutdown sends what has not been sent and stops. It gives up when ctx ends,
// or after five seconds when ctx has no deadline.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, shutdownTimeout)
		defer cancel()
	}
	if err := errors.Join(t.TracerProvider.Shutdown(ctx), t.MeterProvider.Shutdown(ctx)); err != nil {
		return fmt.Errorf("telemetry: shut down: %w", err)
	}
	return nil
}

// Close shuts down and logs what could not be sent. A collector that is down must
// not make a program that has drained fail.
func (t *Telemetry) Close(ctx context.Context) {
	if err := t.Shutdown(ctx); err != nil {
		t.Logger.LogAttrs(ctx, slog.LevelWarn, "telemetry.lost", slog.String("error", err.Error()))
	}
}

// describe returns the resource that every signal carries.
func describe(ctx context.Context, o Options) (*resource.Resource, error) {
	if o.Service == "" {
		return nil, errors.New("service is required")
	}
	return resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(
			serviceName.String(o.Service),
			serviceVersion.String(cmp.Or(o.Version, "unknown")),
			serviceInstance.String(cmp.Or(o.Instance, randomInstance())),
		),
		resource.WithFromEnv(),
	)
}

// randomInstance tells two processes of one host apart, also when their process
// ids are the same because each runs in a container.
func randomInstance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "-" + rand.Text()[:8]
}
