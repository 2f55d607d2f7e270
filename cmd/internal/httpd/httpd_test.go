package httpd_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tradepulse/rotator/cmd/internal/httpd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server until the test ends and fails the test if Run does.
func start(t *testing.T, cfg httpd.Config) *httpd.Server {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	s, err := httpd.Listen(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return s
}

func do(t *testing.T, method, url string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func text(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

func TestPaths(t *testing.T) {
	s := start(t, httpd.Config{Metrics: text("m 1\n"), Handlers: map[string]http.Handler{"GET /status": text("fine")}})
	for name, tt := range map[string]struct {
		method, path string
		status       int
		body         string
	}{
		"alive":                      {"GET", "/healthz", 200, "ok\n"},
		"alive by HEAD":              {"HEAD", "/healthz", 200, ""},
		"ready without checks":       {"GET", "/readyz", 200, `{"ready":true,"checks":[]}` + "\n"},
		"metrics":                    {"GET", "/metrics", 200, "m 1\n"},
		"an extra handler":           {"GET", "/status", 200, "fine"},
		"an unknown path":            {"GET", "/debug/pprof/", 404, "404 page not found\n"},
		"nothing is to be posted to": {"POST", "/healthz", 405, "Method Not Allowed\n"},
	} {
		t.Run(name, func(t *testing.T) {
			status, header, body := do(t, tt.method, s.URL()+tt.path)
			if status != tt.status || body != tt.body {
				t.Errorf("got %d %q, want %d %q", status, body, tt.status, tt.body)
			}
			if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers %v", header)
			}
		})
	}
}

func TestReadyzNamesWhatIsMissing(t *testing.T) {
	checks := []httpd.Check{
		{Name: "nats", Probe: func(context.Context) error { return nil }},
		{Name: "store main", Probe: func(context.Context) error { return errors.New("sealed") }},
		{Name: "scheduler", Probe: func(context.Context) error { panic("canary") }},
		{Name: "slow", Probe: func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("ping: %w", ctx.Err()) }},
	}
	stuck := make(chan struct{})
	defer close(stuck)
	checks = append(checks, httpd.Check{Name: "stuck", Probe: func(context.Context) error { <-stuck; return nil }})
	s := start(t, httpd.Config{Checks: checks, CheckTimeout: 20 * time.Millisecond})

	status, header, body := do(t, "GET", s.URL()+"/readyz")
	if status != http.StatusServiceUnavailable || header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %v", status, header)
	}
	var got httpd.Readiness
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	for i, r := range got.Checks { // either text is right for the slow one
		if r.Name == "slow" && r.Reason == "ping: context deadline exceeded" {
			got.Checks[i].Reason = "no answer in time"
		}
	}
	want := httpd.Readiness{Checks: []httpd.Result{
		{Name: "nats", OK: true},
		{Name: "store main", Reason: "sealed"},
		{Name: "scheduler", Reason: "the check panicked with a string"},
		{Name: "slow", Reason: "no answer in time"},
		{Name: "stuck", Reason: "no answer in time"},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestReadyWhenAllChecksAre(t *testing.T) {
	s := start(t, httpd.Config{Checks: []httpd.Check{{Name: "nats", Probe: func(context.Context) error { return nil }}}})
	status, _, body := do(t, "GET", s.URL()+"/readyz")
	if want := `{"ready":true,"checks":[{"name":"nats","ok":true}]}` + "\n"; status != 200 || body != want {
		t.Errorf("got %d %s, want %s", status, body, want)
	}
}

func TestListenRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tt := range map[string]struct {
		cfg  httpd.Config
		want string
	}{
		"an address in use":    {httpd.Config{Listen: taken.Addr().String()}, "address already in use"},
		"an address of no use": {httpd.Config{Listen: "8080"}, "missing port in address"},
		"no address":           {httpd.Config{}, "missing port in address"},
		"a path taken twice":   {httpd.Config{Listen: "127.0.0.1:0", Handlers: map[string]http.Handler{"GET /healthz": text("")}}, "conflicts with pattern"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := httpd.Listen(t.Context(), tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestWithoutAHostItIsOnLoopback(t *testing.T) {
	s := start(t, httpd.Config{Listen: ":0"})
	if a := s.Addr().(*net.TCPAddr); !a.IP.IsLoopback() {
		t.Errorf("bound to %s", a)
	}
}

func TestRequestsInHandFinish(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s, err := httpd.Listen(t.Context(), httpd.Config{Listen: "127.0.0.1:0", Handlers: map[string]http.Handler{
		"GET /slow": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(entered)
			<-release
			if r.Context().Err() == nil {
				_, _ = io.WriteString(w, "finished")
			}
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	body := make(chan string, 1)
	go func() {
		resp, err := http.Get(s.URL() + "/slow")
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		body <- string(b)
	}()
	<-entered
	cancel()
	close(release)
	if got := <-body; got != "finished" {
		t.Errorf("got %q", got)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if _, err := net.Dial("tcp", s.Addr().String()); err == nil {
		t.Error("the socket is still open")
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	s := start(t, httpd.Config{})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: %s\r\n\r\n", strings.Repeat("a", 64<<10)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestAPanickingHandlerIsLogged(t *testing.T) {
	var buf bytes.Buffer
	logged := make(chan struct{}, 1)
	s := start(t, httpd.Config{
		Logger:   slog.New(slog.NewTextHandler(notify{&buf, logged}, nil)),
		Handlers: map[string]http.Handler{"GET /boom": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })},
	})
	resp, err := http.Get(s.URL() + "/boom")
	if err == nil {
		resp.Body.Close()
		t.Error("no error from a handler that panicked")
	}
	<-logged
	if !strings.Contains(buf.String(), "level=WARN") {
		t.Errorf("got %s", &buf)
	}
	if status, _, _ := do(t, "GET", s.URL()+"/healthz"); status != http.StatusOK {
		t.Errorf("afterwards the status is %d", status)
	}
}

// notify signals each write.
type notify struct {
	io.Writer
	done chan<- struct{}
}

func (n notify) Write(p []byte) (int, error) {
	defer func() { n.done <- struct{}{} }()
	return n.Writer.Write(p)
}
