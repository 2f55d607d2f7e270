package readers_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/readers"
)

// TestReadsOfAServer has a real server write to the socket.
func TestReadsOfAServer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	socket, stop := s.listen(0)
	bao := serverstest.StartAuditedBao(t, socket.Addr().String())
	bao.Do(t, http.MethodPost, "secret/data/orders/db", map[string]any{"data": map[string]string{"value": "A-Value-For-Tests-1"}}, nil)
	bao.Do(t, http.MethodPost, "secret/data/other", map[string]any{"data": map[string]string{"value": "x"}}, nil)
	policy := `path "secret/*" { capabilities = ["read", "list"] }`
	tokens := map[string]string{}
	for _, name := range []string{"reporting", "wrapper", "curious", "refused"} {
		tokens[name] = login(t, bao, bao.AppRole(t, name, policy, "1h"))
	}
	get(t, bao, tokens["curious"], "secret/metadata/orders/db")
	get(t, bao, tokens["curious"], "secret/subkeys/orders/db")
	get(t, bao, tokens["curious"], "secret/data/other")
	get(t, bao, tokens["curious"], "secret/data/orders/db?version=7")
	get(t, bao, "no token", "secret/data/orders/db")
	get(t, bao, tokens["wrapper"], "secret/data/orders/db", "X-Vault-Wrap-TTL", "60")
	get(t, bao, tokens["reporting"], "secret/data/orders/db")
	want := []string{"approle/reporting 1", "approle/wrapper "}
	waittest.Until(t, "both readers are known", func() error {
		if got := names(s.reads()); !slices.Equal(got, want) {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
	for _, one := range s.reads().Sightings {
		if one.Address != "127.0.0.1" || !strings.HasPrefix(one.Entity, "entity/") || one.Store != "vault" || time.Since(one.At) > time.Hour {
			t.Errorf("the sighting is %+v", one)
		}
	}
	stop()
	if got := s.awaitSource("the listener has said that it heard", func(src events.ReadSource) bool { return !src.Heard.IsZero() }); got.Since.After(got.Heard) {
		t.Errorf("reads were missed: %+v", got)
	}
	get(t, bao, tokens["reporting"], "secret/data/orders/db") // the server works on without the socket
}

// TestASocketNeverStalls: a server waits for its audit device before it answers. The
// bus is down, and everything that is written is taken all the same.
func TestASocketNeverStalls(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	socket, _ := s.listen(time.Hour)
	before := s.awaitSource("the listener has begun", func(src events.ReadSource) bool { return !src.Since.IsZero() })
	s.server.Stop()
	var all bytes.Buffer
	for i := range 20_000 {
		all.Write(entry(fmt.Sprint("role-", i), "orders/db", 1))
	}
	write(t, socket.Addr(), all.Bytes())
	s.server.Start()
	s.awaitSource("the listener says that it has missed reads", func(src events.ReadSource) bool { return src.Since.After(before.Since) })
	waittest.Until(t, "what was queued is recorded", func() error {
		if got := s.reads(); len(got.Sightings) < events.MaxReaders || got.More.IsZero() {
			return fmt.Errorf("%d readers are known, more %s", len(got.Sightings), got.More)
		}
		return nil
	})
}

// TestWhatASourceMissed: each kind of interruption, and what is none.
func TestWhatASourceMissed(t *testing.T) {
	t.Parallel()
	whole := entry("reporting", "orders/db", 3)
	for name, c := range map[string]struct {
		written []byte
		missed  bool
	}{
		"an entry":                         {whole, false},
		"an entry after a prefix":          {append([]byte("audit: "), whole...), false},
		"entries of something else":        {[]byte("{\"type\":\"request\"}\n\n{\"type\":\"response\"}\n"), false},
		"half an entry":                    {whole[:100], true},
		"an entry that is no JSON":         {[]byte("<jsonx/>\n"), true},
		"an entry that is longer than one": {append(bytes.Repeat([]byte("a"), 2<<20), '\n'), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			socket, stop := s.listenAt(filepath.Join(t.TempDir(), "audit.sock"), 0)
			before := s.awaitSource("the listener has begun", func(src events.ReadSource) bool { return !src.Since.IsZero() })
			write(t, socket.Addr(), c.written)
			write(t, socket.Addr(), entry("last", "orders/db", 3))
			waittest.Until(t, "the last entry is recorded", func() error {
				if got := names(s.reads()); !slices.Contains(got, "approle/last 3") {
					return fmt.Errorf("got %q", got)
				}
				return nil
			})
			if c.missed {
				s.awaitSource("the listener says that it has missed reads", func(src events.ReadSource) bool { return src.Since.After(before.Since) })
			}
			stop()
			if after := s.awaitSource("the listener has ended", func(src events.ReadSource) bool { return src.At.After(before.At) }); !c.missed && !after.Since.Equal(before.Since) {
				t.Errorf("the listener says that it has missed reads before %s, it had begun at %s", after.Since, before.Since)
			}
		})
	}
}

// TestASourceGoesOn: a process that comes back in the time that is tolerated has missed
// nothing, and one that comes later has.
func TestASourceGoesOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		tolerate time.Duration
		lost     bool
		missed   bool
	}{
		"in time":                             {time.Hour, false, false},
		"too late":                            {0, false, true},
		"in time, but the sightings are lost": {time.Hour, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			_, stop := s.listen(c.tolerate)
			before := s.awaitSource("the listener has begun", func(src events.ReadSource) bool { return !src.Since.IsZero() })
			stop()
			if c.lost {
				js, err := s.server.Connect().JetStream()
				if err == nil {
					err = js.PurgeStream(s.bus.Names().ReadersStream())
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			ended := before
			if !c.lost {
				ended = s.awaitSource("the listener has ended", func(src events.ReadSource) bool { return src.At.After(before.At) })
			}
			s.listen(c.tolerate)
			after := s.awaitSource("the listener has begun again", func(src events.ReadSource) bool { return src.At.After(ended.At) })
			if got := after.Since.After(before.Since); got != c.missed {
				t.Errorf("it hears since %s, before since %s: missed %t, want %t", after.Since, before.Since, got, c.missed)
			}
		})
	}
}

func TestListenSocketRefusesATakenAddress(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	at := filepath.Join(t.TempDir(), "audit.sock")
	_, stop := s.listenAt(at, 0)
	cfg := readers.SocketConfig{Listen: at, Mount: readers.Mount{Store: "vault", Path: "secret"}, Recorder: readers.NewRecorder(s.bus, s.cat), Sources: s.bus}
	if _, err := readers.ListenSocket(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "another process listens there") {
		t.Errorf("ListenSocket() = %v", err)
	}
	stop()
	s.listenAt(at, 0)
}

func write(t *testing.T, to net.Addr, text []byte) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), to.Network(), to.String())
	if err == nil {
		_, err = c.Write(text)
	}
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
