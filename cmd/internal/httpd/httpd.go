package httpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Limits of every connection. A handler that streams extends its own deadline
// with [http.ResponseController].
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = time.Minute
	maxHeaderBytes    = 16 << 10
	shutdownTimeout   = 5 * time.Second
)

// Config is what a [Server] serves. Listen is required.
type Config struct {
	// Listen is the TCP address, such as 127.0.0.1:8080; port 0 takes a free
	// one. An address without a host is on loopback, not on every interface.
	Listen string
	// Metrics serves /metrics; nil leaves the path out.
	Metrics http.Handler
	// Checks decide /readyz; with none the process is always ready.
	Checks []Check
	// CheckTimeout is how long /readyz waits for the checks. 0 means 2 s.
	CheckTimeout time.Duration
	// Handlers are served besides, by the pattern of [http.ServeMux].
	Handlers map[string]http.Handler
	// Logger gets what goes wrong with connections; nil means slog.Default.
	Logger *slog.Logger
}

// Server has a socket and serves it in [Server.Run].
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen returns a Server that is bound to its address, so that an address in
// use shows before anything else is started. Call Run, which closes it.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("httpd: listen: %w", err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	handler, err := routes(cfg)
	if err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("httpd: %w", err)
	}
	return &Server{listener: l, http: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
	}}, nil
}

// Addr returns the address that the server is bound to.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL returns the address as the base of a URL, without a slash at its end.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Run serves until ctx ends, lets the requests in hand finish for up to five
// seconds, and returns nil. An error means that the server stopped by itself.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("httpd: serve: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := s.http.Shutdown(stop); err != nil {
		// A request that does not end; what it waits for is ending too.
		_ = s.http.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("httpd: serve: %w", err)
	}
	return nil
}

// routes returns the handler of all paths. Patterns that contradict each other
// make ServeMux panic; here that is an error.
func routes(cfg Config) (_ http.Handler, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("httpd: %v", p)
		}
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.Handle("GET /readyz", readiness{checks: cfg.Checks, timeout: cfg.CheckTimeout})
	if cfg.Metrics != nil {
		mux.Handle("GET /metrics", cfg.Metrics)
	}
	for pattern, h := range cfg.Handlers {
		mux.Handle(pattern, h)
	}
	return plainHeaders(index(mux, cfg)), nil
}

// index says at / which paths there are, unless a handler has it.
func index(mux *http.ServeMux, cfg Config) http.Handler {
	paths := []string{"/healthz", "/readyz"}
	if cfg.Metrics != nil {
		paths = append(paths, "/metrics")
	}
	for pattern := range cfg.Handlers {
		paths = append(paths, pattern)
	}
	slices.Sort(paths)
	text := "not found; see " + strings.Join(paths, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern == "" && r.URL.Path == "/" {
			http.Error(w, text, http.StatusNotFound)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// plainHeaders keeps browsers from guessing types and caches from keeping
// health.
func plainHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}
