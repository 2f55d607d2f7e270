package serverstest

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// Proxy stands between a driver and a server, writes down the calls, and lets
// some of them go wrong as networks and servers do. It understands HTTP, since
// the worst that can happen depends on that: an answer that is lost after the
// server has done what it was asked.
type Proxy struct {
	URL string

	forward http.Handler
	end     chan struct{} // closed to release the calls that hang

	mu    sync.Mutex
	rules []*rule
	calls []string
	hits  int
}

// rule says what goes wrong.
type rule struct {
	left  int // negative: for ever
	match func(call string) bool
	fault Fault
}

// Fault answers a call in place of the server. next is the server.
type Fault func(p *Proxy, w http.ResponseWriter, r *http.Request, next http.Handler)

// StartProxy starts a proxy on loopback in front of the server at to.
func StartProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	p := &Proxy{forward: forward, end: make(chan struct{})}
	s := httptest.NewServer(p)
	p.URL = s.URL
	t.Cleanup(func() {
		close(p.end)
		s.Close()
	})
	return p
}

// distant returns an endpoint of a server that is not quicker than a network. One
// on loopback may have answered before the client has let go of the request that
// it has sent, and the SDK of AWS then closes the connection with the answer in it.
func distant(t testing.TB, url string) string {
	t.Helper()
	return StartProxy(t, url).URL
}

// Inject makes the next n calls that match go wrong, all from now on when n is
// negative. A call is named by its action in AWS, such as PutSecretValue, and
// otherwise by method and path; a nil match means every call.
func (p *Proxy) Inject(n int, match func(call string) bool, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, &rule{n, match, f})
}

// Hits returns how many calls went wrong.
func (p *Proxy) Hits() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hits
}

// Heal ends all that Inject began.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// Take returns the calls since it was last asked.
func (p *Proxy) Take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls
	p.calls = nil
	return calls
}

// ServeHTTP implements [http.Handler].
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller is gone
	}
	// Only a body that was read to its end lets the server see the caller go.
	r.Body = io.NopCloser(bytes.NewReader(body))
	if f := p.fault(name(r)); f != nil {
		f(p, w, r, p.forward)
		return
	}
	p.forward.ServeHTTP(w, r)
}

func name(r *http.Request) string {
	if _, action, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		return action
	}
	return r.Method + " " + r.URL.Path
}

func (p *Proxy) fault(call string) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, call)
	for _, r := range p.rules {
		if r.left != 0 && (r.match == nil || r.match(call)) {
			r.left--
			p.hits++
			return r.fault
		}
	}
	return nil
}

// Delay lets a call through after a while.
func Delay(d time.Duration) Fault {
	return func(p *Proxy, w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-time.After(d):
			next.ServeHTTP(w, r)
		case <-p.end:
		}
	}
}

// Answer answers without the server.
func Answer(status int, body string) Fault {
	return func(_ *Proxy, w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // the caller may be gone
	}
}

// Throttled is how AWS asks for fewer calls.
var Throttled = Answer(http.StatusBadRequest, `{"__type":"ThrottlingException","Message":"Rate exceeded"}`)

// Reset cuts the connection before the server has seen the call.
func Reset(_ *Proxy, w http.ResponseWriter, _ *http.Request, _ http.Handler) { cut(w) }

// LoseAnswer lets the server do what it is asked and then cuts the connection.
func LoseAnswer(_ *Proxy, w http.ResponseWriter, r *http.Request, next http.Handler) {
	apply(r, next)
	cut(w)
}

// Hang never answers, and the server sees nothing.
func Hang(p *Proxy, _ http.ResponseWriter, r *http.Request, _ http.Handler) { p.hang(r) }

// HangApplied lets the server do what it is asked and never answers.
func HangApplied(p *Proxy, _ http.ResponseWriter, r *http.Request, next http.Handler) {
	apply(r, next)
	p.hang(r)
}

// Quota throttles what is beyond a rate, and counts as gone wrong what is not.
func Quota(perSecond float64, burst int, throttled func()) Fault {
	limit := rate.NewLimiter(rate.Limit(perSecond), burst)
	return func(p *Proxy, w http.ResponseWriter, r *http.Request, next http.Handler) {
		if limit.Allow() {
			next.ServeHTTP(w, r)
			return
		}
		throttled()
		Throttled(p, w, r, next)
	}
}

// apply makes the call whatever becomes of the caller.
func apply(r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithoutCancel(r.Context())))
}

func (p *Proxy) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-p.end:
	}
}

// cut ends the connection with a reset.
func cut(w http.ResponseWriter) {
	h, ok := w.(http.Hijacker)
	if !ok {
		panic("the connection cannot be taken over")
	}
	conn, _, err := h.Hijack()
	if err != nil {
		panic(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the end is an orderly one
	}
	_ = conn.Close() // that is what it is for
}
