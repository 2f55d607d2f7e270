package postgres_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/postgres"
	"github.com/tradepulse/rotator/pkg/target/targettest"
)

// TestPgBouncerHidesWhoIsLoggedIn: a target whose endpoint is a real PgBouncer says that
// the use is unknown, although its configuration does not name a pooler.
func TestPgBouncerHidesWhoIsLoggedIn(t *testing.T) {
	t.Parallel()
	s := serverstest.StartPostgres(t)
	w := newWorld(t, s, postgres.Alternating, "app", &targettest.Versions{})
	w.rotate(t, w.target(t, nil), "", "v1")
	ref := target.Ref{Secret: spec.ID, Version: "v1"}
	if _, err := w.target(t, nil).InUse(t.Context(), ref); err != nil {
		t.Fatalf("without PgBouncer: %v", err)
	}
	value, err := w.cfg.Admin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	admin, err := target.ParseLogin(value)
	if err != nil {
		t.Fatal(err)
	}
	b := serverstest.NewPgBouncer(t)
	for name, text := range map[string]string{
		"pgbouncer.ini": fmt.Sprintf("[databases]\n* = host=%s port=%d\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = %s\n",
			s.Host, s.Port, b.Port, filepath.Join(b.Dir, "users")),
		"users": fmt.Sprintf("\"%s\" \"%s\"\n", strings.ReplaceAll(admin.Username, `"`, `""`), admin.Password),
	} {
		if err := os.WriteFile(filepath.Join(b.Dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.Start(t)
	behind := w.target(t, func(c *postgres.Config) { c.Endpoints = []string{b.Address} })
	if u, err := behind.InUse(t.Context(), ref); !errors.Is(err, target.ErrUnsupported) || !strings.Contains(fmt.Sprint(err), "pooler") {
		t.Errorf("behind PgBouncer: %+v, %v\n%s", u, err, b.Log())
	}
}
