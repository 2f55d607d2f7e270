package hook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/target"
)

// Transport is how an endpoint is reached.
type Transport struct {
	// TLS secures the connection. Nil means the authorities of the system.
	TLS *tls.Config
	// Token returns a bearer token for the Authorization header. Nil sends none.
	Token func(context.Context) (secret.Value, error)
}

// What an exit code of a program means, besides 0.
const (
	exitRejected    = 3
	exitUnsupported = 4
)

// maxComplaint bounds what an error quotes of a hook, in bytes.
const maxComplaint = 500

// killDelay is how long the output of a program that was killed is waited for.
const killDelay = 2 * time.Second

// CheckURL returns an error unless values may be posted to a URL. It quotes nothing of
// it.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return errors.New("the URL is not one")
	case u.User != nil || u.RawQuery != "":
		return errors.New("the URL has credentials or a query; use token")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && local(u.Hostname()):
		return nil
	}
	return errors.New("the URL has to begin with https, or with http for a hook on this machine")
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// post sends a request to the endpoint. A redirect is not followed: it would carry the
// values elsewhere.
func (t *Target) post(ctx context.Context, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	var token secret.Value
	if t.cfg.HTTP.Token != nil {
		if token, err = t.cfg.HTTP.Token(ctx); err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+string(token.Reveal()))
	}
	transport := &http.Transport{TLSClientConfig: t.cfg.HTTP.TLS, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, secret.Scrub(err, token)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, secret.Scrub(err, token)
	case resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices:
		return nil, secret.Scrub(complaint(resp.Status, out, resp.StatusCode == http.StatusUnprocessableEntity, resp.StatusCode == http.StatusNotImplemented), token)
	case len(out) > maxAnswer:
		return nil, errors.New("the answer is longer than 1 MiB")
	}
	return out, nil
}

// run starts the program. It inherits the environment, so that it finds its own
// credentials.
func (t *Target) run(ctx context.Context, body []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, t.cfg.Command[0], t.cfg.Command[1:]...) //nolint:gosec // the operator configured it
	out, errs := &limited{}, &limited{}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = bytes.NewReader(body), out, errs, killDelay
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil {
		return nil, complaint(e.String(), errs.b.Bytes(), e.ExitCode() == exitRejected, e.ExitCode() == exitUnsupported)
	}
	if err == nil && out.cut {
		err = errors.New("the answer is longer than 1 MiB")
	}
	return out.b.Bytes(), err
}

// complaint returns an error with what a hook says of its failure.
func complaint(status string, text []byte, rejected, unsupported bool) error {
	said := strings.TrimSpace(strings.ToValidUTF8(string(text[:min(len(text), maxComplaint)]), ""))
	err := fmt.Errorf("%s: %s", status, said)
	switch {
	case rejected:
		return fmt.Errorf("%w: %w", target.ErrRejected, err)
	case unsupported:
		return fmt.Errorf("%w: %w", target.ErrUnsupported, err)
	}
	return err
}

// limited keeps the first MiB that is written to it.
type limited struct {
	b   bytes.Buffer // not embedded: its ReadFrom would pass Write by
	cut bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := maxAnswer - l.b.Len()
	l.cut = l.cut || len(p) > room
	l.b.Write(p[:min(len(p), room)])
	return len(p), nil
}
