// Command service is a service as TradePulse has one: an administrative interface
// behind a bearer token, which signs an audit record for each request. Both
// secrets are rotated while it runs.
//
//	TRADEPULSE_AUDIT_SECRET=... TRADEPULSE_ADMIN_TOKEN=... go run ./examples/service
//
// Without the token it runs, and its administrative interface answers 503.
//
// GET /metrics answers Prometheus without a token. SIGHUP reads the configuration again.
//
// It listens on $LISTEN (127.0.0.1:8090) and writes $AUDIT_LOG (audit.log).
// docs/services.md says how its operator chooses a store and a bus.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/client/setup/all"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	auditKey   = secret.ID("TRADEPULSE_AUDIT_SECRET_ID")
	adminToken = secret.ID("TRADEPULSE_ADMIN_TOKEN_ID")
	overlap    = time.Hour // for which the previous token is accepted
	drain      = 10 * time.Second
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, log)
	stop()
	if err != nil {
		log.Error("service", slog.String("error", err.Error()))
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger) (err error) {
	ids := []secret.ID{auditKey, adminToken}
	meters, metrics, err := newMetrics()
	if err != nil {
		return err
	}
	c, err := setup.Open(ctx, setup.Options{
		Service: "tradepulse-api", IDs: ids, CheckedAtUse: ids, Optional: []secret.ID{adminToken}, Providers: all.Providers(), Logger: log, MeterProvider: meters,
	})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err = errors.Join(err, c.Close(closing))
	}()
	defer reloadOnHangup(ctx, log, c.Manager)()
	keys, err := client.NewKeyring(ctx, c.Manager, auditKey, client.KeysVerifyHistory, 0)
	if err != nil {
		return err
	}
	defer keys.Close()
	file, err := os.OpenFile(cmp.Or(os.Getenv("AUDIT_LOG"), "audit.log"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600) //nolint:gosec // its operator named the file
	if err != nil {
		return err
	}
	defer file.Close()
	audit, err := client.NewAuditLogger(ctx, c.Manager, keys, file)
	if err != nil {
		return err
	}
	defer audit.Close()
	if _, err := audit.ResumeFrom(ctx, file); err != nil {
		return err
	}
	auth, err := client.NewTokenAuthenticator(ctx, c.Manager, adminToken, "tradepulse-admin", overlap)
	if err != nil {
		return err
	}
	defer auth.Close()
	routes := http.NewServeMux()
	routes.Handle("GET /metrics", metrics)
	routes.Handle("/", auth.Middleware(admin(audit, log)))
	return serve(ctx, log, routes)
}

// reloadOnHangup reads the configuration again at each SIGHUP, until the returned
// function is called. After a failure the secrets from before stay in use.
func reloadOnHangup(ctx context.Context, log *slog.Logger, m *client.Manager) (stop func()) {
	hangup, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangup, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range hangup {
			if err := m.Reload(ctx); err != nil {
				log.ErrorContext(ctx, "secret.not_reloaded", slog.String("error", err.Error()))
			}
		}
	}()
	return func() {
		signal.Stop(hangup)
		close(hangup)
		<-done
	}
}

// newMetrics returns where the client counts, and what answers Prometheus. The
// options give the metrics the names that deployments/prometheus/rules.yml has.
func newMetrics() (metric.MeterProvider, http.Handler, error) {
	registry := prometheus.NewRegistry()
	exporter, err := promexporter.New(
		promexporter.WithRegisterer(registry),
		promexporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		promexporter.WithoutScopeInfo(),
	)
	if err != nil {
		return nil, nil, err
	}
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)), promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}

// admin answers requests that are authenticated, each of which is recorded first.
func admin(audit *client.AuditLogger, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := audit.Log("admin.request", map[string]string{"method": r.Method, "path": r.URL.Path, "client": r.RemoteAddr}); err != nil {
			log.ErrorContext(r.Context(), "audit", slog.String("error", err.Error()))
			http.Error(w, "the request could not be recorded", http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "ok")
	})
}

func serve(ctx context.Context, log *slog.Logger, h http.Handler) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cmp.Or(os.Getenv("LISTEN"), "127.0.0.1:8090"))
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "listening", slog.String("address", l.Addr().String()))
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	return srv.Shutdown(closing)
}
