package eventstest

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// lagSubject is where direct gets go while a server lags; the stream and the
// subject that is read follow.
const lagSubject = "LAG.GET"

// LagVariable is the environment variable that has every server of [Server.NewBus]
// lag by so many messages, so that whole suites run against staleness.
const LagVariable = "ROTATOR_TEST_LAG"

// everyLag returns by how many messages every server lags, 0 for none.
func everyLag(tb testing.TB) uint64 {
	tb.Helper()
	text := os.Getenv(LagVariable)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		tb.Fatalf("%s: %v", LagVariable, err)
	}
	return n
}

// Lag makes every direct get of the last message on a subject answer from the past,
// as a server of a cluster does that lags behind: with what the stream held so many
// messages ago. It lasts until Stop. Call it once all streams are there: it has
// those that keep one message per subject keep enough of them. What was purged is
// gone from the past, too. Further calls change nothing.
func (s *Server) Lag(messages uint64) {
	s.t.Helper()
	if s.lags.Swap(true) {
		return
	}
	nc := s.Connect()
	failed := func(err error) {
		if nc.IsConnected() {
			s.t.Errorf("answer from the past: %v", err)
		}
	}
	if err := Lag(s.t.Context(), s.current.Load(), nc, messages, failed); err != nil {
		s.t.Fatal(err)
	}
}

// Lag is [Server.Lag] for a server that is not one of a test; nc is a connection of
// its global account. failed is called for each answer that cannot be made.
func Lag(ctx context.Context, s *server.Server, nc *nats.Conn, messages uint64, failed func(error)) error {
	if err := keepPast(ctx, nc, messages); err != nil {
		return err
	}
	if _, err := nc.Subscribe(lagSubject+".>", func(m *nats.Msg) {
		if err := answer(nc, m, messages); err != nil {
			failed(err)
		}
	}); err != nil {
		return err
	}
	if err := nc.Flush(); err != nil {
		return err
	}
	// A get of several messages has no subject behind the stream and stays as it is.
	return s.GlobalAccount().AddMapping("$JS.API.DIRECT.GET.*.>", lagSubject+".$1.>")
}

// keepPast has streams that keep one message per subject keep so many more.
func keepPast(ctx context.Context, nc *nats.Conn, messages uint64) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		cfg := info.Config
		if cfg.MaxMsgsPerSubject != 1 {
			continue
		}
		cfg.MaxMsgsPerSubject += int64(messages)
		if _, err := js.UpdateStream(ctx, cfg); err != nil {
			return err
		}
	}
	return streams.Err()
}

// answer answers a direct get with what the stream held so many messages ago.
func answer(nc *nats.Conn, m *nats.Msg, behind uint64) error {
	stream, subject, _ := strings.Cut(strings.TrimPrefix(m.Subject, lagSubject+"."), ".")
	info, err := nc.Request("$JS.API.STREAM.INFO."+stream, nil, 10*time.Second)
	if err != nil {
		return err
	}
	var now struct {
		State struct {
			LastSeq uint64 `json:"last_seq"`
		} `json:"state"`
	}
	if err := json.Unmarshal(info.Data, &now); err != nil {
		return err
	}
	if now.State.LastSeq <= behind { // 0 would mean the present
		none := nats.NewMsg(m.Reply)
		none.Header.Set("Status", "404")
		none.Header.Set("Description", "Message Not Found")
		return nc.PublishMsg(none)
	}
	get, err := json.Marshal(map[string]any{"multi_last": []string{subject}, "up_to_seq": now.State.LastSeq - behind})
	if err != nil {
		return err
	}
	past, err := nc.Request("$JS.API.DIRECT.GET."+stream, get, 10*time.Second)
	if err != nil {
		return err
	}
	past.Subject, past.Reply = m.Reply, ""
	return nc.PublishMsg(past)
}
