package readers_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/readers"
	"github.com/tradepulse/rotator/pkg/secret"
)

const id = secret.ID("ORDERS_DB")

// site is a bus, and a catalog with one secret at orders/db of the store vault.
type site struct {
	t      *testing.T
	server *eventstest.Server
	bus    *events.Bus
	cat    *catalog.Catalog
}

func newSite(t *testing.T) *site {
	t.Helper()
	cat, err := catalog.New(catalog.Config{Specs: []secret.Spec{{ID: id, Store: "vault", Path: "orders/db", TTL: 24 * time.Hour, Services: []string{"orders"}}}})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, server: eventstest.NewServer(t), cat: cat}
	s.bus = s.server.NewBus(events.StreamOptions{})
	return s
}

// listen runs a socket until stop is called.
func (s *site) listen(tolerate time.Duration) (socket *readers.Socket, stop func()) {
	s.t.Helper()
	return s.listenAt("127.0.0.1:0", tolerate)
}

func (s *site) listenAt(at string, tolerate time.Duration) (socket *readers.Socket, stop func()) {
	s.t.Helper()
	listening, err := readers.ListenSocket(s.t.Context(), readers.SocketConfig{
		Listen: at, Mount: readers.Mount{Store: "vault", Path: "secret"}, Tolerate: tolerate,
		Recorder: readers.NewRecorder(s.bus, s.cat), Sources: s.bus, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	done := make(chan error, 1)
	go func() { done <- listening.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
	s.t.Cleanup(stop)
	return listening, stop
}

func (s *site) reads() events.Reads {
	s.t.Helper()
	got, err := s.bus.Reads(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return got
}

// awaitSource waits until the listener says something that ok accepts.
func (s *site) awaitSource(what string, ok func(events.ReadSource) bool) events.ReadSource {
	s.t.Helper()
	var got events.ReadSource
	waittest.Until(s.t, what, func() error {
		var err error
		if got, _, err = s.bus.Source(s.t.Context(), "vault", "vault"); err != nil {
			return err
		}
		if !ok(got) {
			return fmt.Errorf("the source is %+v", got)
		}
		return nil
	})
	return got
}

// entry is a line of an audit log: an identity has read a version of a secret.
func entry(role, path string, version int) []byte {
	return fmt.Appendf(nil, `{"time":"2026-03-01T14:02:00.5Z","type":"response","auth":{"client_token":"hmac-sha256:1","accessor":"hmac-sha256:2","display_name":"approle",`+
		`"policies":["default"],"metadata":{"role_name":%q},"entity_id":"07dc4d6f","token_type":"service"},"request":{"id":"1","operation":"read","mount_type":"kv",`+
		`"namespace":{"id":"root"},"path":"secret/data/%s","remote_address":"192.0.2.7","remote_port":55518},"response":{"mount_type":"kv",`+
		`"data":{"data":{"value":"hmac-sha256:3"},"metadata":{"created_time":"2026-03-01T09:00:00Z","destroyed":false,"version":%d}}}}`+"\n", role, path, version)
}

// names returns what was seen of identities, in order.
func names(r events.Reads) []string {
	var out []string
	for _, s := range r.Sightings {
		out = append(out, fmt.Sprintf("%s %s", s.Identity, s.VersionID))
	}
	slices.Sort(out)
	return out
}

// login returns a token of an AppRole.
func login(t *testing.T, b *serverstest.Bao, r serverstest.Role) string {
	t.Helper()
	var out struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	b.Do(t, http.MethodPost, "auth/approle/login", map[string]any{"role_id": r.ID, "secret_id": r.Secret}, &out)
	return out.Auth.Token
}

// get reads a path with a token, whatever the answer is.
func get(t *testing.T, b *serverstest.Bao, token, path string, header ...string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL+"/v1/"+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	if len(header) == 2 {
		req.Header.Set(header[0], header[1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
}
