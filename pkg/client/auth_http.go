package client

import (
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Middleware passes requests on that carry an accepted token, and answers others
// as RFC 6750 says: 401 with a challenge, and 400 for a header that is
// malformed. Past the fence it answers 503, and while an optional token is absent 503
// with the text of the [AbsentError]. It takes tokens from the Authorization
// header only.
func (a *TokenAuthenticator) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, which := bearer(r.Header)
		if a.e.isAbsent() {
			a.uses.Add(r.Context(), 1, metric.WithAttributes(attribute.String("token", "unconfirmed")))
			refuseAbsent(w, a.e.absent())
			return
		}
		if which == "" {
			which = a.judge(r, token)
		}
		a.uses.Add(r.Context(), 1, metric.WithAttributes(attribute.String("token", which)))
		if TokenUse(which).Accepted() {
			next.ServeHTTP(w, r)
			return
		}
		a.refuse(w, which)
	})
}

// judge says which token a request carries, or unconfirmed when that cannot be told.
// It notes clients that send an old one.
func (a *TokenAuthenticator) judge(r *http.Request, token string) string {
	use, v, err := a.check(r.Context(), token)
	switch {
	case err != nil:
		return "unconfirmed"
	case use == TokenPrevious:
		a.previousUsed(r)
	case use == TokenRetired:
		a.e.tripped(r.Context(), v, a.client(r))
	}
	return string(use)
}

// refuse answers a request whose token is missing, malformed or not accepted.
func (a *TokenAuthenticator) refuse(w http.ResponseWriter, which string) {
	code, challenge := http.StatusUnauthorized, `Bearer realm="`+a.realm+`"`
	switch which {
	case "malformed":
		code, challenge = http.StatusBadRequest, challenge+`, error="invalid_request"`
	case string(TokenRejected), string(TokenRetired):
		challenge += `, error="invalid_token"`
	case "unconfirmed":
		code, challenge = http.StatusServiceUnavailable, ""
	}
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(code), code)
}

// bearer returns the token of a request, or how it fails to have one: missing or
// malformed.
func bearer(h http.Header) (token, how string) {
	values := h.Values("Authorization")
	if len(values) == 0 {
		return "", "missing"
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	switch {
	case len(values) > 1:
		return "", "malformed"
	case !strings.EqualFold(scheme, "Bearer"):
		return "", "missing" // another scheme: nothing is wrong, and nothing is there
	case len(token) > maxToken:
		return token, "" // Check refuses it
	case sendable(token) != nil:
		return "", "malformed"
	}
	return token, ""
}

// client returns the address of the client of a request.
func (a *TokenAuthenticator) client(r *http.Request) string {
	if a.ClientAddr != nil {
		return a.ClientAddr(r)
	}
	return remoteHost(r)
}

// previousUsed counts and logs a client that sends the previous token.
func (a *TokenAuthenticator) previousUsed(r *http.Request) {
	client := a.client(r)
	if n, say := a.clients.used(client, time.Now()); say {
		a.m.log.LogAttrs(r.Context(), slog.LevelWarn, "admin.token.previous_used", attrLogID(a.e.id),
			slog.String("client", client), slog.Int64("uses", n))
	}
}

// remoteHost returns the host of the peer, or all of RemoteAddr if it has no port.
func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
