package events_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// onePage cuts an answer of the server to so many subjects: it gives 100,000 itself.
func onePage(answer []byte, subjects int) ([]byte, error) {
	var all map[string]any
	if err := json.Unmarshal(answer, &all); err != nil {
		return nil, err
	}
	state, _ := all["state"].(map[string]any)
	listed, _ := state["subjects"].(map[string]any)
	for i, s := range slices.Sorted(maps.Keys(listed)) {
		if i >= subjects {
			delete(listed, s)
		}
	}
	return json.Marshal(all)
}

// TestAListOfSeveralPagesIsWhole although an instance ends between two pages, which
// moves every subject behind it.
func TestAListOfSeveralPagesIsWhole(t *testing.T) {
	t.Parallel()
	const instances = 12
	srv := eventstest.NewServer(t)
	n := srv.NewBus(events.StreamOptions{Memory: true}).Names()
	nc := srv.Connect()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	subject := func(i int) string { return n.Use(id.Key(), "api", fmt.Sprintf("%07d", i)) }
	for i := range instances {
		if _, err := js.Publish(t.Context(), subject(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	uses, err := js.Stream(t.Context(), n.UsesStream())
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "BETWEEN"
	var lists atomic.Int32
	if _, err := nc.Subscribe(prefix+".>", func(m *nats.Msg) {
		to := jetstream.DefaultAPIPrefix + strings.TrimPrefix(m.Subject, prefix+".")
		if !strings.Contains(to, "STREAM.INFO") {
			if err := nc.PublishRequest(to, m.Reply, m.Data); err != nil {
				t.Error(err)
			}
			return
		}
		if strings.Contains(string(m.Data), "subjects_filter") && lists.Add(1) == 2 {
			if err := uses.Purge(t.Context(), jetstream.WithPurgeSubject(subject(0))); err != nil {
				t.Error(err)
			}
		}
		go func() {
			answer, err := nc.Request(to, m.Data, time.Minute)
			if err == nil {
				answer.Data, err = onePage(answer.Data, 5)
			}
			if err == nil {
				answer.Subject = m.Reply
				err = nc.PublishMsg(answer)
			}
			if err != nil {
				t.Error(err)
			}
		}()
	}); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	b, err := events.New(srv.Connect(), events.Config{Verifier: events.NewVerifier(srv.Signer.Public()), APIPrefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	got, err := b.ListUses(t.Context(), n.Use("*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != instances-1 || !slices.IsSorted(got) || got[0] != subject(1) || got[len(got)-1] != subject(instances-1) {
		t.Errorf("%d subjects from %s to %s, want the %d that have not ended", len(got), got[0], got[len(got)-1], instances-1)
	}
	if lists.Load() < 5 {
		t.Errorf("%d pages were read, want the list anew", lists.Load())
	}
}
