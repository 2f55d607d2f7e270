package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/tradepulse/rotator/pkg/secret"
)

// BearerTransport adds the current token to the requests of an [http.Client]
// that go to one origin; others pass as they are, so that a redirect does not
// carry the token away. A request with an Authorization header keeps it.
//
// When a request is answered 401, the store is asked whether the token has been
// rotated meanwhile, and if so the request is sent once more, provided that its
// body can be had again.
//
// It checks at each request whether the token may still be used, and fails past the
// fence, see [FenceError].
type BearerTransport struct {
	m      *Manager
	h      *Handle
	origin url.URL
	base   http.RoundTripper
}

var _ http.RoundTripper = (*BearerTransport)(nil)

// NewBearerTransport returns a transport for a secret of m. origin is scheme,
// host and port, such as https://api.example.com; nil for base means
// http.DefaultTransport.
func NewBearerTransport(m *Manager, id secret.ID, origin string, base http.RoundTripper) (*BearerTransport, error) {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || u.Path != "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("client: %q is not an origin such as https://api.example.com", origin)
	}
	if base == nil {
		base = http.DefaultTransport
	}
	return &BearerTransport{m: m, h: m.handle(id), origin: *u, base: base}, nil
}

// RoundTrip implements [http.RoundTripper]. It sends a request twice at most, and
// leaves r unchanged. When the second one cannot be sent, the answer to the first
// is returned.
func (t *BearerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != t.origin.Scheme || r.URL.Host != t.origin.Host || r.Header.Get("Authorization") != "" {
		return t.base.RoundTrip(r)
	}
	if err := t.h.e.check(r.Context()); err != nil {
		return nil, errors.Join(err, shut(r))
	}
	cur := t.h.Get()
	resp, err := t.base.RoundTrip(with(r, cur))
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !t.m.moved(r.Context(), t.h, cur) {
		return resp, err
	}
	again := with(r, t.h.Get())
	if r.Body != nil && r.Body != http.NoBody {
		if r.GetBody == nil {
			return resp, nil
		}
		if again.Body, err = r.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the caller gets the answer to the first request
		}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	_ = resp.Body.Close()
	return t.base.RoundTrip(again)
}

// shut closes the body of a request that is not sent, as a transport has to.
func shut(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

// with returns a copy of r with the token in it. The body is that of r.
func with(r *http.Request, c *Current) *http.Request {
	out := r.Clone(r.Context())
	out.Header.Set("Authorization", "Bearer "+string(c.Value.Reveal()))
	return out
}
