package rotation

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

func TestManual(t *testing.T) {
	t.Parallel()
	at := time.Now()
	known := secret.Metadata{Versions: []secret.Version{{ID: "v1", Stage: secret.StageCurrent}}}
	for name, c := range map[string]struct {
		create bool
		meta   secret.Metadata
		err    error
		from   secret.VersionID
		fails  error
	}{
		"a version is replaced":                        {false, known, nil, "v1", nil},
		"a secret without a version may be created":    {true, secret.Metadata{}, store.ErrNotFound, "", nil},
		"a secret that may not be created is an error": {false, secret.Metadata{}, store.ErrNotFound, "", store.ErrNotFound},
		"a store that does not answer is an error":     {true, secret.Metadata{}, store.ErrUnavailable, "", store.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := Manual(at, "alice", secret.Spec{ID: "ID", Store: "main", Create: c.create}, c.meta, c.err)
			if !errors.Is(err, c.fails) {
				t.Fatalf("error %v, want %v", err, c.fails)
			}
			if want := (Request{Secret: "ID", Store: "main", From: c.from, Reason: events.ReasonManual, By: "alice", At: at}); err == nil && q != want {
				t.Errorf("got %+v, want %+v", q, want)
			}
		})
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	at := time.Now()
	failed := func(id secret.ID, from secret.VersionID, at time.Time, f *events.Failure) events.Event {
		return events.Event{
			ID: "failed", Type: events.TypeRotationFailed, Source: "/test", Time: at,
			Data: events.Data{SecretID: id, Store: "main", VersionID: from, Retry: events.Retry{Failure: f}},
		}
	}
	why := &events.Failure{Step: "verify", Code: events.CodeRejected, Message: "refused"}
	rotated := func(id secret.ID, from, to secret.VersionID) events.Event {
		return events.Rotated("/test", at, events.Data{SecretID: id, Store: "main", VersionID: to, PreviousVersionID: from})
	}
	for name, c := range map[string]struct {
		log  []events.Event
		to   secret.VersionID
		fail string
	}{
		"the version that was asked for":   {[]events.Event{rotated("ID", "v1", "v2")}, "v2", ""},
		"a version of another secret":      {[]events.Event{rotated("OTHER", "v1", "v2")}, "", context.Canceled.Error()},
		"a version from before":            {[]events.Event{rotated("ID", "v0", "v1")}, "", context.Canceled.Error()},
		"it was given up":                  {[]events.Event{failed("ID", "v1", at.Add(time.Second), why)}, "", "given up: refused"},
		"it was given up without a reason": {[]events.Event{failed("ID", "v1", at.Add(time.Second), nil)}, "", "given up"},
		"it was given up before":           {[]events.Event{failed("ID", "v1", at.Add(-time.Second), why)}, "", context.Canceled.Error()},
		"another rotation was given up":    {[]events.Event{failed("ID", "v0", at.Add(time.Second), why)}, "", context.Canceled.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bus := eventstest.NewServer(t).NewBus(events.StreamOptions{Memory: true})
			for _, e := range c.log {
				if err := bus.Publish(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			to, err := Await(ctx, upToNow{bus, cancel}, Request{Secret: "ID", From: "v1", At: at})
			if to != c.to || (err == nil) != (c.fail == "") || err != nil && !strings.Contains(err.Error(), c.fail) {
				t.Errorf("got %q, %v; want %q, %q", to, err, c.to, c.fail)
			}
			if gaveUp := strings.HasPrefix(c.fail, "given up"); errors.Is(err, ErrGivenUp) != gaveUp {
				t.Errorf("error %v, given up: want %t", err, gaveUp)
			}
		})
	}
}

// upToNow is a log that ends the watch after what was there at the start.
type upToNow struct {
	bus *events.Bus
	end func()
}

func (l upToNow) WatchLog(ctx context.Context, types []events.Type, fn func(context.Context, events.Announcement) error, _ func()) error {
	return l.bus.WatchLog(ctx, types, fn, l.end)
}
