package events_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// rawLine is a connection without a client: it sends any header.
type rawLine struct {
	net.Conn

	t     *testing.T
	pongs chan struct{}
}

func newRawLine(t *testing.T, srv *eventstest.Server) *rawLine {
	t.Helper()
	c, err := srv.InProcessConn()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	l := &rawLine{c, t, make(chan struct{}, 1)}
	go l.listen()
	l.send("CONNECT {\"headers\":true,\"verbose\":false,\"pedantic\":false}\r\n")
	return l
}

// listen waits for the answers to pings.
func (l *rawLine) listen() {
	defer close(l.pongs)
	buf := make([]byte, 4<<10)
	for {
		n, err := l.Read(buf)
		if err != nil {
			return
		}
		if strings.Contains(string(buf[:n]), "PONG") {
			l.pongs <- struct{}{}
		}
	}
}

func (l *rawLine) send(text string) {
	l.t.Helper()
	if _, err := io.WriteString(l, text); err != nil {
		l.t.Fatal(err)
	}
}

// publish sends a message, and returns when the server has it.
func (l *rawLine) publish(subject, header, body string) {
	l.t.Helper()
	l.send(fmt.Sprintf("HPUB %s %d %d\r\n%s%s\r\nPING\r\n", subject, len(header), len(header)+len(body), header, body))
	if _, ok := <-l.pongs; !ok {
		l.t.Fatal("the connection is lost")
	}
}

// brokenHeaders are blocks of headers that a client does not read to their end. before
// is the sequence of the message before, subject that of another record.
func brokenHeaders(before int, subject string) []string {
	stored := fmt.Sprintf("Nats-Subject: %s\r\nNats-Sequence: %d\r\nNats-Time-Stamp: 2001-01-01T00:00:00Z\r\nNats-Last-Sequence: %d\r\n", subject, before, before)
	end := fmt.Sprintf("Status:204\r\nNats-Num-Pending:0\r\nNats-Last-Sequence:%d\r\nNats-UpTo-Sequence:99999\r\n", before)
	return []string{
		"NATS/1.0 503\r\n\r\n", "XX\r\n\r\n", "NATS/1.0\r\nno header\r\n\r\n", "NATS/1.0", "\r\n",
		"NATS/1.0\r\n" + stored + "\r\n\r\n",
		"NATS/1.0\r\n" + end + "\r\n\r\n",
		"NATS/1.0\r\n" + strings.Repeat("A:\r\n", 250) + end + "\r\n\r\n",
	}
}

// TestBrokenHeadersHideNoUser: a service may store any bytes as headers. Its record is
// not understood, and neither replaces another one nor ends the answer before it.
func TestBrokenHeadersHideNoUser(t *testing.T) {
	t.Parallel()
	for i, header := range brokenHeaders(2, "uses."+string(id.Key())+".api.one-1") {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			srv := eventstest.NewServer(t)
			b := srv.NewBus(events.StreamOptions{Memory: true})
			join(t, b, "one", id)
			newRawLine(t, srv).publish(b.Names().Use(id.Key(), "web", "odd"), header, "")
			join(t, b, "two", id)
			got := users(t, b, id)
			if len(got) != 3 || !slices.Contains(got, "api/one/one-1 v1") || !slices.Contains(got, "api/two/two-1 v1") || !strings.HasPrefix(got[2], "web//odd  (") {
				t.Errorf("users %q", got)
			}
		})
	}
}

// TestBrokenHeadersHideNoReport of another instance.
func TestBrokenHeadersHideNoReport(t *testing.T) {
	t.Parallel()
	for i, header := range brokenHeaders(1, "report.api.i00000") {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			srv := eventstest.NewServer(t)
			b := srv.NewBus(events.StreamOptions{Memory: true})
			reportFleet(t, b, 1, 0)
			newRawLine(t, srv).publish(b.Names().Report("web", "odd"), header, "x")
			reportFleet(t, b, 3, 0)
			all, err := b.Reports(t.Context())
			i := slices.IndexFunc(all, func(r events.Report) bool { return r.Problem != "" })
			if err != nil || len(all) != 4 || i < 0 || all[i].Service != "web" || all[i].Instance != "odd" {
				t.Errorf("Reports() = %+v, %v", all, err)
			}
		})
	}
}
