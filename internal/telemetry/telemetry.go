// Package telemetry replaces the logger and the providers that a configuration
// leaves nil, and makes the instruments of a package.
//
// It exports nothing and chooses no exporter; a program does.
package telemetry

import (
	"cmp"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Logger returns l, or slog.Default for nil.
func Logger(l *slog.Logger) *slog.Logger { return cmp.Or(l, slog.Default()) }

// Meters returns p, or the global provider for nil.
func Meters(p metric.MeterProvider) metric.MeterProvider { return cmp.Or(p, otel.GetMeterProvider()) }

// Tracers returns p, or the global provider for nil.
func Tracers(p trace.TracerProvider) trace.TracerProvider {
	return cmp.Or(p, otel.GetTracerProvider())
}

// Instruments makes instruments, and collects the errors of all of them for Err.
// The units are those of UCUM, such as s or {event}.
type Instruments struct {
	meter metric.Meter
	errs  []error
}

// New returns the Instruments of a meter.
func New(m metric.Meter) *Instruments { return &Instruments{meter: m} }

// Err returns the errors of all instruments that were made.
func (i *Instruments) Err() error { return errors.Join(i.errs...) }

// Counter makes a counter.
func (i *Instruments) Counter(name, unit, description string) metric.Int64Counter {
	c, err := i.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.errs = append(i.errs, err)
	return c
}

// UpDownCounter makes a counter that may go down.
func (i *Instruments) UpDownCounter(name, unit, description string) metric.Int64UpDownCounter {
	c, err := i.meter.Int64UpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.errs = append(i.errs, err)
	return c
}

// Histogram makes a histogram.
func (i *Instruments) Histogram(name, unit, description string) metric.Float64Histogram {
	h, err := i.meter.Float64Histogram(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.errs = append(i.errs, err)
	return h
}

// Gauge makes a gauge that is recorded.
func (i *Instruments) Gauge(name, unit, description string) metric.Int64Gauge {
	g, err := i.meter.Int64Gauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.errs = append(i.errs, err)
	return g
}

// TimeGauge makes a gauge of a time that is recorded.
func (i *Instruments) TimeGauge(name, unit, description string) metric.Float64Gauge {
	g, err := i.meter.Float64Gauge(name, metric.WithUnit(unit), metric.WithDescription(description))
	i.errs = append(i.errs, err)
	return g
}

// Observable makes a gauge that callbacks observe.
func (i *Instruments) Observable(name, unit, description string, callbacks ...metric.Int64Callback) metric.Int64ObservableGauge {
	opts := []metric.Int64ObservableGaugeOption{metric.WithUnit(unit), metric.WithDescription(description)}
	for _, c := range callbacks {
		opts = append(opts, metric.WithInt64Callback(c))
	}
	g, err := i.meter.Int64ObservableGauge(name, opts...)
	i.errs = append(i.errs, err)
	return g
}

// ObservableTime makes a gauge of a time that callbacks observe.
func (i *Instruments) ObservableTime(name, unit, description string, callbacks ...metric.Float64Callback) metric.Float64ObservableGauge {
	opts := []metric.Float64ObservableGaugeOption{metric.WithUnit(unit), metric.WithDescription(description)}
	for _, c := range callbacks {
		opts = append(opts, metric.WithFloat64Callback(c))
	}
	g, err := i.meter.Float64ObservableGauge(name, opts...)
	i.errs = append(i.errs, err)
	return g
}
