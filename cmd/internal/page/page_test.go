package page_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/httpd"
	"github.com/tradepulse/rotator/cmd/internal/page"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestBeforeTheBusIsReached: the page says why nothing is known.
func TestBeforeTheBusIsReached(t *testing.T) {
	t.Parallel()
	away := httpd.Check{Name: "nats", Probe: func(context.Context) error { return errors.New("not connected yet") }}
	got := shown(t, "rotator", nil, away)
	for _, want := range []string{"nats: not connected yet", "the secrets cannot be read: the program is not connected yet"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

// TestTheNotifiersPage: it shows what was announced.
func TestTheNotifiersPage(t *testing.T) {
	t.Parallel()
	bus := eventstest.NewServer(t).NewBus(events.StreamOptions{Memory: true})
	cat, err := catalog.New(catalog.Config{Specs: []secret.Spec{{ID: "DB", Store: "main", Path: "db", TTL: time.Hour, Services: []string{"api"}}}})
	if err != nil {
		t.Fatal(err)
	}
	e := events.Rotated("/test", time.Now(), events.Data{SecretID: "DB", Store: "main", VersionID: "v2", PreviousVersionID: "v1"})
	if err := bus.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	got := shown(t, "notifier", &inspect.Inspector{Catalog: cat, Bus: bus, Announced: true})
	for _, want := range []string{"no_live_instance", "Nothing needs a person"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
}

// shown returns the page that a server shows of in.
func shown(t *testing.T, program string, in *inspect.Inspector, checks ...httpd.Check) string {
	t.Helper()
	p, err := page.New(program, "", checks, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	p.Show(in)
	srv, err := httpd.Listen(t.Context(), httpd.Config{Listen: "127.0.0.1:0", Handlers: p.Handlers()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- srv.Run(ctx) }()
	go func() { done <- p.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	}()
	var body string
	waittest.Until(t, "there is a snapshot", func() error {
		resp, err := http.Get(srv.URL() + "/")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if body = string(b); err == nil && strings.Contains(body, "Nothing has been read yet") {
			err = errors.New("nothing has been read yet")
		}
		return err
	})
	return body
}
