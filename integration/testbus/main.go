// Command testbus is a bus for the tests of clients in other languages: a real
// NATS server with the streams of pkg/events, and a notifier's and an operator's
// view of it. It takes one JSON object a line on standard input and answers each
// with one on standard output; it ends with its input.
//
// It keeps no secret and rotates none: the test that drives it says what to announce.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

func main() {
	var cfg config
	flag.StringVar(&cfg.dir, "dir", "", "where streams and the signing key are kept")
	flag.IntVar(&cfg.port, "port", server.RANDOM_PORT, "port on loopback")
	flag.StringVar(&cfg.prefix, "prefix", "", "prefix of the names")
	flag.StringVar(&cfg.password, "password", "", "password of the user client; empty lets everyone in")
	flag.StringVar(&cfg.nkey, "nkey", "", "public nkey that may log in, too")
	flag.Parse()
	if err := run(context.Background(), cfg); err != nil {
		fmt.Fprintln(os.Stderr, "testbus:", err)
		os.Exit(1)
	}
}

type config struct {
	dir, prefix    string
	port           int
	password, nkey string
}

// own is the user that this program connects as.
const own = "testbus"

func run(ctx context.Context, cfg config) error {
	dir := cfg.dir
	signer, err := key(filepath.Join(dir, "signing.key"))
	if err != nil {
		return err
	}
	s, err := start(cfg)
	if err != nil {
		return err
	}
	defer s.WaitForShutdown()
	defer s.Shutdown()
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo(own, own))
	if err != nil {
		return err
	}
	defer nc.Close()
	names, err := events.NewNames(cfg.prefix)
	if err != nil {
		return err
	}
	bus, err := events.New(nc, events.Config{
		Names: names, Source: "/testbus", Signer: signer, Verifier: events.NewVerifier(signer.Public()), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	if err := bus.EnsureStreams(ctx, events.StreamOptions{}); err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]string{"url": s.ClientURL(), "key": filepath.Join(dir, "signing.key.pub")}); err != nil {
		return err
	}
	return serve(ctx, driver{bus: bus, js: js, nc: nc, names: names, server: s, cfg: cfg}, out)
}

// key returns the key of an earlier run, or a fresh one.
func key(path string) (*events.Signer, error) {
	signer, err := events.LoadSigner(path)
	if !errors.Is(err, os.ErrNotExist) {
		return signer, err
	}
	if signer, err = events.GenerateSigner(); err != nil {
		return nil, err
	}
	return signer, signer.Save(path)
}

func start(cfg config) (*server.Server, error) {
	s, err := server.NewServer(cfg.options())
	if err != nil {
		return nil, err
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return nil, errors.New("nats-server did not start")
	}
	return s, nil
}

func (cfg config) options() *server.Options {
	opts := &server.Options{
		ServerName: "testbus", JetStream: true, StoreDir: filepath.Join(cfg.dir, "nats"), NoSigs: true, NoLog: true,
		Host: "127.0.0.1", Port: cfg.port,
	}
	if cfg.password != "" {
		opts.Users = []*server.User{{Username: own, Password: own}, {Username: "client", Password: cfg.password}}
	}
	if cfg.nkey != "" {
		opts.Nkeys = []*server.NkeyUser{{Nkey: cfg.nkey}}
	}
	return opts
}

// command is one line of input.
type command struct {
	// Op is notify, records, fleet, purge, lose, password or lag.
	Op        string              `json:"op"`
	Service   string              `json:"service"`
	Type      events.Type         `json:"type"`
	SecretID  secret.ID           `json:"secret_id"`
	VersionID secret.VersionID    `json:"version_id"`
	Previous  secret.VersionID    `json:"previous"`
	State     events.RolloutState `json:"state"`
	At        time.Time           `json:"at"`
	NotAfter  time.Time           `json:"not_after"`
	Seq       uint64              `json:"seq"`
	Password  string              `json:"password"`
	Subject   string              `json:"subject"`
	Messages  uint64              `json:"messages"`
}

// driver does what commands say.
type driver struct {
	bus    *events.Bus
	js     jetstream.JetStream
	nc     *nats.Conn
	names  events.Names
	server *server.Server
	cfg    config
}

func serve(ctx context.Context, d driver, out *json.Encoder) error {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var c command
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			return err
		}
		answer, err := d.do(ctx, c)
		if err != nil {
			answer = map[string]string{"error": err.Error()}
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return in.Err()
}

func (c command) event() events.Event {
	data := events.Data{
		SecretID: c.SecretID, Store: "main", VersionID: c.VersionID, PreviousVersionID: c.Previous,
		Reason: events.ReasonManual, OccurredAt: c.At, NotAfter: c.NotAfter,
	}
	if c.State != "" {
		data.Rollout = &events.Rollout{State: c.State, StartedAt: c.At}
	}
	return events.Event{
		ID: fmt.Sprintf("%s/%s/%d", c.SecretID, c.VersionID, c.Seq), Type: c.Type, Source: "/testbus", Time: c.At, Data: data,
	}
}

// record is what an incarnation has stored about itself.
type record struct {
	Subject string          `json:"subject"`
	Seq     uint64          `json:"seq"`
	Body    json.RawMessage `json:"body"`
}

func (d driver) records(ctx context.Context) ([]record, error) {
	c, err := d.js.OrderedConsumer(ctx, d.names.UsesStream(), jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy})
	if err != nil {
		return nil, err
	}
	out := []record{}
	pending := int(c.CachedInfo().NumPending)
	if pending == 0 {
		return out, nil
	}
	batch, err := c.Fetch(pending)
	if err != nil {
		return nil, err
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return nil, err
		}
		out = append(out, record{Subject: m.Subject(), Seq: meta.Sequence.Stream, Body: m.Data()})
	}
	return out, batch.Error()
}

func (d driver) do(ctx context.Context, c command) (any, error) {
	switch c.Op {
	case "notify":
		return map[string]string{}, d.bus.Notify(ctx, c.Service, c.event(), c.Seq)
	case "records":
		found, err := d.records(ctx)
		return map[string]any{"records": found}, err
	case "fleet":
		fleet, err := d.bus.Fleet(ctx, c.SecretID)
		return map[string]any{"users": fleet.Users}, err
	case "purge":
		s, err := d.js.Stream(ctx, d.names.UsesStream())
		if err != nil {
			return nil, err
		}
		return map[string]string{}, s.Purge(ctx, jetstream.WithPurgeSubject(c.Subject))
	case "lose":
		// The stream is lost and made again.
		if err := d.js.DeleteStream(ctx, d.names.UsesStream()); err != nil {
			return nil, err
		}
		return map[string]string{}, d.bus.EnsureStreams(ctx, events.StreamOptions{})
	case "lag":
		failed := func(err error) { fmt.Fprintln(os.Stderr, "testbus: answer from the past:", err) }
		return map[string]string{}, eventstest.Lag(ctx, d.server, d.nc, c.Messages, failed)
	case "password":
		// The server closes the connections that the old password opened.
		cfg := d.cfg
		cfg.password = c.Password
		return map[string]string{}, d.server.ReloadOptions(cfg.options())
	default:
		return nil, fmt.Errorf("no operation %q", c.Op)
	}
}
