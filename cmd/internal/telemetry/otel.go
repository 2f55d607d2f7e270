package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The attributes of the resource, by the names of the OpenTelemetry semantic
// conventions. The keys alone, without a schema: they have been stable since
// 1.0, and two schemas in one resource are an error.
const (
	serviceName     = attribute.Key("service.name")
	serviceVersion  = attribute.Key("service.version")
	serviceInstance = attribute.Key("service.instance.id")
)

// seconds are the buckets of every histogram in seconds: from a cached read
// that missed to a rotation that waited for its target. The default buckets of
// OpenTelemetry are made for milliseconds.
var seconds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

func newTracerProvider(ctx context.Context, res *resource.Resource, procs []sdktrace.SpanProcessor) (*sdktrace.TracerProvider, error) {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	for _, p := range procs {
		opts = append(opts, sdktrace.WithSpanProcessor(p))
	}
	if asked("TRACES") {
		exp, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return nil, refused("TRACES", err)
		}
		opts = append(opts, sdktrace.WithBatcher(exp))
	}
	return sdktrace.NewTracerProvider(opts...), nil
}

func newMeterProvider(ctx context.Context, res *resource.Resource, readers []sdkmetric.Reader) (*sdkmetric.MeterProvider, http.Handler, error) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	scrape, err := promexporter.New(
		promexporter.WithRegisterer(reg),
		promexporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		promexporter.WithoutScopeInfo(),
	)
	if err != nil {
		return nil, nil, err
	}
	opts := []sdkmetric.Option{
		sdkmetric.WithResource(res),
		sdkmetric.WithReader(scrape),
		sdkmetric.WithView(sdkmetric.NewView(
			sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram, Unit: "s"},
			sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: seconds}},
		)),
	}
	for _, r := range readers {
		opts = append(opts, sdkmetric.WithReader(r))
	}
	if asked("METRICS") {
		r, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return nil, nil, refused("METRICS", err)
		}
		opts = append(opts, sdkmetric.WithReader(r))
	}
	metrics := promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg, EnableOpenMetrics: true})
	return sdkmetric.NewMeterProvider(opts...), metrics, nil
}

// buildInfo adds rotator_build_info, which is 1 and has the version.
func buildInfo(mp *sdkmetric.MeterProvider, version string) error {
	g, err := mp.Meter("github.com/tradepulse/rotator/cmd").Int64Gauge("rotator.build.info", metric.WithDescription("The version of the program; the value is 1."))
	if err != nil {
		return err
	}
	g.Record(context.Background(), 1, metric.WithAttributes(attribute.String("version", cmp.Or(version, "unknown"))))
	return nil
}

// asked reports whether the environment wants a signal exported. Without this
// question autoexport would send to localhost, and complain for ever.
func asked(signal string) bool {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" {
		return false
	}
	for _, name := range []string{"OTEL_" + signal + "_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_" + signal + "_ENDPOINT"} {
		if os.Getenv(name) != "" {
			return true
		}
	}
	return false
}

// refused names the setting behind err: autoexport's own text does not.
func refused(signal string, err error) error {
	name := "OTEL_" + signal + "_EXPORTER"
	return fmt.Errorf("%s is %q, OTEL_EXPORTER_OTLP_PROTOCOL is %q: %w", name, os.Getenv(name), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), err)
}
