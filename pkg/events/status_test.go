package events_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	leastStatus = 100
	mostStatus  = 599
	statuses    = mostStatus - leastStatus + 1
)

// publishStatuses stores a message with each header Status that a server may send, once
// without a body and once with one, on the subjects that subject returns.
func publishStatuses(t *testing.T, srv *eventstest.Server, subject func(name string) string) {
	t.Helper()
	js, err := srv.Connect().JetStream()
	if err != nil {
		t.Fatal(err)
	}
	for status := leastStatus; status <= mostStatus; status++ {
		for kind, body := range map[string]string{"empty": "", "text": "x"} {
			m := nats.NewMsg(subject(fmt.Sprint(kind, "-", status)))
			m.Header.Set("Status", strconv.Itoa(status))
			m.Header.Set("Description", "Consumer Deleted")
			m.Data = []byte(body)
			if _, err := js.PublishMsgAsync(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-t.Context().Done():
	}
}

// errEnough ends a watch.
var errEnough = errors.New("enough was seen")

// TestAHeaderStatusOfAUseIsNotTheServers: a record with such a header is one that is
// not understood, and hides no other.
func TestAHeaderStatusOfAUseIsNotTheServers(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{Memory: true})
	n := b.Names()
	join(t, b, "one", id)
	publishStatuses(t, srv, func(name string) string { return n.Use(id.Key(), "web", name) })
	publishStatuses(t, srv, func(name string) string { return n.Presence("web", "x", name) })
	join(t, b, "two", id)
	problems := func(users []events.User) (n int) {
		for _, u := range users {
			if u.Problem != "" && u.Use.Service == "web" {
				n++
			}
		}
		return n
	}
	if f := fleet(t, b, id); len(f.Users) != 2+2*statuses || problems(f.Users) != 2*statuses {
		t.Errorf("the fleet has %d users, of which %d of service web are not understood", len(f.Users), problems(f.Users))
	}
	if f, err := b.Instance(t.Context(), "web", "x", ""); err != nil || problems(f.Users) != 2*statuses {
		t.Errorf("Instance() = %d users, %v", len(f.Users), err)
	}
	if f, err := b.Users(t.Context()); err != nil || problems(f.Users) < 2*statuses {
		t.Errorf("Users() = %d users, of which %d of service web are not understood, %v", len(f.Users), problems(f.Users), err)
	}
	seen, odd := 0, 0
	err := b.WatchFleet(t.Context(), func(e events.FleetEvent) error {
		switch {
		case e.Synced:
			return errEnough
		case !e.Since.IsZero() && seen > 0:
			return errors.New("the watch began anew")
		case e.Since.IsZero():
			seen++
		}
		if e.Problem != "" {
			odd++
		}
		return nil
	})
	if !errors.Is(err, errEnough) || seen != 4+4*statuses || odd != 4*statuses {
		t.Errorf("WatchFleet() = %v after %d records, of which %d are not understood", err, seen, odd)
	}
}

// TestAHeaderStatusOfAReportIsNotTheServers: an empty report says that its instance is
// gone, whatever its headers are, and any other one that it is not understood.
func TestAHeaderStatusOfAReportIsNotTheServers(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{Memory: true})
	publishStatuses(t, srv, func(name string) string { return b.Names().Report("web", name) })
	last := events.Report{Service: "api", Instance: "one", Secrets: []events.Running{{SecretID: id, VersionID: "v1", Status: events.StatusApplied}}}
	if err := b.Report(t.Context(), last, time.Minute); err != nil {
		t.Fatal(err)
	}
	all, err := b.Reports(t.Context())
	if err != nil || len(all) != 1+statuses {
		t.Errorf("Reports() = %d reports, %v", len(all), err)
	}
	if f := fleet(t, b, id); len(f.Users) != 1+statuses {
		t.Errorf("the fleet has %d users", len(f.Users))
	}
	if _, err := b.Users(t.Context()); err != nil {
		t.Errorf("Users() = %v", err)
	}
	gone, odd, heard := 0, 0, false
	err = b.WatchReports(t.Context(), func(e events.ReportEvent) error {
		switch {
		case e.Synced:
			return errEnough
		case e.Gone:
			gone++
		case e.Report.Problem != "":
			odd++
		default:
			heard = e.Report.Instance == last.Instance
		}
		return nil
	})
	if !errors.Is(err, errEnough) || gone != statuses || odd != statuses || !heard {
		t.Errorf("WatchReports() = %v after %d that are gone and %d that are not understood; api/one was seen: %t", err, gone, odd, heard)
	}
}

// TestAHeaderStatusDoesNotEndAWatchOfTheLog or of the records, nor a read of the log.
func TestAHeaderStatusDoesNotEndAWatchOfTheLog(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{Memory: true})
	n := b.Names()
	publishStatuses(t, srv, func(name string) string { return n.Event(events.TypeRotated, secret.ID("web/"+name).Key()) })
	publishStatuses(t, srv, func(name string) string { return n.Confirmed(id.Key(), name) })
	publishStatuses(t, srv, func(name string) string { return n.Forgotten("web", name) })
	e := event(events.TypeRotated, "v2")
	confirmed := events.Confirmed{SecretID: id, Consumer: "batch", VersionID: "v2", By: "ci"}
	forgotten := events.Forgotten{Service: "api", Instance: "one", Incarnation: "one-1", By: "ann", Reason: "lost", Used: []events.Use{}}
	if err := errors.Join(b.Publish(t.Context(), e), b.RecordConfirmed(t.Context(), confirmed), b.RecordForgotten(t.Context(), forgotten)); err != nil {
		t.Fatal(err)
	}
	var seen []string
	found := func(what string) error {
		seen = append(seen, what)
		return errEnough
	}
	for _, err := range []error{
		b.WatchLog(t.Context(), []events.Type{events.TypeRotated}, func(context.Context, events.Announcement) error { return found("event") }, nil),
		b.ReadLog(t.Context(), events.LogQuery{}, func(events.Announcement) error { return found("event of the log") }),
		b.WatchConfirmed(t.Context(), func(events.Confirmed) error { return found("confirmation") }),
		b.WatchForgotten(t.Context(), func(events.Forgotten) error { return found("instance that is forgotten") }),
	} {
		if !errors.Is(err, errEnough) {
			t.Error(err)
		}
	}
	if want := []string{"event", "event of the log", "confirmation", "instance that is forgotten"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}
