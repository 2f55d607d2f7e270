package integration

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// serverHeaders returns every header that the source of nats-server names.
func serverHeaders(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/nats-io/nats-server/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "server", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var headers []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if name, err := strconv.Unquote(lit.Value); err == nil && strings.HasPrefix(name, "Nats-") && secret.ValidName(name) == nil {
					headers = append(headers, name)
				}
			}
			return true
		})
	}
	slices.Sort(headers)
	headers = slices.Compact(headers)
	if len(headers) < 40 || !slices.Contains(headers, "Nats-Rollup") {
		t.Fatalf("the source of nats-server has the headers %v", headers)
	}
	return headers
}

// hostileHeaders returns messages' headers: each one alone with values that mean
// something to one header or another, and those that mean something together.
func hostileHeaders(t *testing.T, victims []string) []nats.Header {
	t.Helper()
	all := []nats.Header{
		{"Nats-Rollup": {"all"}, "Nats-TTL": {"1s"}},
		{"Nats-Rollup": {"sub"}, "Nats-Expected-Last-Sequence": {"0"}},
		{"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}, "Nats-Rollup": {"all"}},
		{"Nats-TTL": {"1"}, "Nats-Marker-Reason": {"Purge"}},
		{"Nats-Trace-Dest": {"ROTATOR.API.STREAM.PURGE.USES"}, "Nats-Trace-Only": {"true"}},
	}
	for _, victim := range victims {
		all = append(all,
			nats.Header{"Nats-Schedule": {"@at " + time.Now().Format(time.RFC3339)}, "Nats-Schedule-Target": {victim}},
			nats.Header{"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {victim}, "Nats-Schedule-TTL": {"1s"}, "Nats-Schedule-Rollup": {"sub"}},
			nats.Header{"Nats-Trace-Dest": {victim}},
			nats.Header{"Nats-Expected-Last-Subject-Sequence": {"0"}, "Nats-Expected-Last-Subject-Sequence-Subject": {victim}, "Nats-Rollup": {"sub"}},
			nats.Header{"Nats-Marker-Reason": {"Remove"}, "Nats-Subject": {victim}},
		)
	}
	values := append([]string{"all", "sub", "0", "1", "1s", "never", "true", "Purge", "USES", ">"}, victims[0])
	for _, name := range serverHeaders(t) {
		for _, value := range values {
			all = append(all, nats.Header{name: {value}})
		}
	}
	return all
}

// headers lets audit-api publish with every header of the server on every subject
// that it may publish on, while admin-api has an instance with a presence, a use
// and the report of an older client. Nothing that is known of others changes.
func (a *accounts) headers(t *testing.T, s *site) {
	t.Helper()
	other := s.tenant(t, a.connect("ADMIN_API"))
	u := events.Use{
		Running: events.Running{SecretID: accountSecret, VersionID: "v1", Status: events.StatusApplied},
		Service: "admin-api", Instance: "one", Incarnation: "one-1", PastFence: events.PastFenceRefuse,
	}
	if err := other.WriteUse(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Join(t.Context(), events.Presence{Service: "admin-api", Instance: "one", Incarnation: "one-1", Lease: 600}); err != nil {
		t.Fatal(err)
	}
	if err := other.Report(t.Context(), events.Report{Service: "admin-api", Instance: "older", Secrets: []events.Running{u.Running}}, time.Hour); err != nil {
		t.Fatal(err)
	}
	inside := a.connect("WORKER")
	bus := s.bus(inside, "worker")
	names, key := bus.Names(), accountSecret.Key()
	victims := []string{names.Use(key, "admin-api", "one-1"), names.Presence("admin-api", "one", "one-1"), names.Report("admin-api", "older")}
	nc := a.connect("AUDIT_API")
	nc.SetErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}) // refusals are expected
	before := a.others(t, bus, inside)
	if strings.Count(before, "admin-api") < 3 {
		t.Fatalf("of others is known %s", before)
	}
	for _, header := range hostileHeaders(t, victims) {
		for _, subject := range a.mayPublish(t, "AUDIT_API", string(key)) {
			m := &nats.Msg{Subject: subject, Reply: nats.NewInbox(), Header: header, Data: []byte("{}")}
			if err := nc.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, nc)
		if after := a.others(t, bus, inside); after != before {
			t.Errorf("%v: of others was known\n%s\nand is known\n%s", header, before, after)
			return
		}
	}
}

// settle returns when the streams have what was published before.
func settle(t *testing.T, nc *nats.Conn) {
	t.Helper()
	for _, subject := range []string{"report.audit-api.settle.one", "report.audit-api.settle"} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := nc.RequestWithContext(ctx, subject, nil)
		cancel()
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
	}
}

// tenant returns the bus of a service in an account of its own.
func (s *site) tenant(t *testing.T, nc *nats.Conn) *events.Bus {
	t.Helper()
	bus, err := events.New(nc, events.Config{Verifier: s.trusted, APIPrefix: apiPrefix, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return bus
}

// mayPublish returns a subject for each pattern that a user may publish on.
func (a *accounts) mayPublish(t *testing.T, user, key string) []string {
	t.Helper()
	public, err := a.keys[user].PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, pattern := range a.may[public] {
		subject := strings.Replace(pattern, "uses.*.", "uses."+key+".", 1)
		if strings.Contains(subject, ".notify.") {
			subject = strings.Replace(subject, "*", key, 1)
		}
		out = append(out, strings.ReplaceAll(subject, "*", "own"))
	}
	if len(out) < 4 {
		t.Fatalf("%s may publish on %v", user, out)
	}
	return out
}

// others returns what is known of all but audit-api, and how much the other
// streams hold.
func (a *accounts) others(t *testing.T, bus *events.Bus, inside *nats.Conn) string {
	t.Helper()
	f, err := bus.Fleet(t.Context(), accountSecret)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, u := range f.Users {
		if u.Use.Service != "audit-api" {
			u.Presence.Lease = 0 // that of an older client is as old as its report
			lines = append(lines, fmt.Sprintf("%+v", u))
		}
	}
	slices.Sort(lines)
	for stream, holds := range a.holdings(inside) {
		if stream != "USES" && stream != "REPORTS" {
			lines = append(lines, stream+" "+holds)
		}
	}
	slices.Sort(lines)
	return fmt.Sprintf("%s, full %t\n%s", f.Since, f.Full, strings.Join(lines, "\n"))
}
