// Package telemetry sets up what the two programs tell about themselves: logs
// (slog), traces and metrics (OpenTelemetry), and the handler behind /metrics.
//
// Metrics can always be scraped. Nothing is sent anywhere, and nothing warns
// that it cannot be, unless the standard OTEL_* environment variables name an
// exporter or an OTLP endpoint.
//
// The package declares no metric and no event of its own: each package declares
// what it does. It serves no HTTP, see httpd, and touches nothing global until
// [Telemetry.SetGlobal] is called.
package telemetry
