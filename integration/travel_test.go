//go:build !race

package integration

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

var travelDays = flag.Int("days", 7, "how many days TestTimeTravel lives through")

// TestTimeTravel runs a scheduler, two workers, a notifier, a service and the
// real broker in one bubble of fake time: days of daily rotations, with the
// broker and the workers restarted now and then, and one secret that may rotate
// at night only. Every version is replaced before its end, inside its window,
// every rollout ends, and nothing is left running. It does not run with the race
// detector, under which a server in a bubble crashes the runtime.
func TestTimeTravel(t *testing.T) {
	ats.Register() // the server's own clock ticks outside of the bubble
	defer ats.Unregister()
	before := goleak.IgnoreCurrent()
	synctest.Test(t, func(t *testing.T) { travel(t, *travelDays) })
	goleak.VerifyNone(t, before)
}

func travel(t *testing.T, days int) {
	night, err := secret.ParseWindow("0 2 * * *", "Europe/Berlin", 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	daily := secret.Spec{Store: "embedded", TTL: 24 * time.Hour, RefreshMargin: time.Hour, Services: []string{"api"}, Grace: 30 * time.Minute, Create: true}
	atNight, staged := daily, daily
	daily.ID = "DAILY"
	atNight.ID, atNight.TTL, atNight.Windows = "AT_NIGHT", 48*time.Hour, []secret.Window{night}
	staged.ID, staged.Rollout, staged.Retire = "STAGED", secret.RolloutPrepare, secret.RetireKeep
	b := startBroker(t, false)
	s := newSite(t, b, daily, atNight, staged)
	log := &travelLog{}
	watch := s.run("watch", log.watch(s))
	sched := s.run("scheduler", s.scheduler(time.Hour))
	work := []*process{s.run("worker 0", s.worker(2)), s.run("worker 1", s.worker(2))}
	note := s.run("notifier", s.notifier())
	time.Sleep(time.Minute)
	svc := s.run("service", s.service("api"))
	for day := range days {
		time.Sleep(24 * time.Hour)
		if day%3 == 2 { // a worker is away for an hour, then back
			i := day % len(work)
			work[i].stop()
			time.Sleep(time.Hour)
			work[i] = s.run(fmt.Sprint("worker ", i), s.worker(2))
		}
		if day%7 == 6 {
			b.stop()
			time.Sleep(10 * time.Minute)
			b.start()
		}
	}
	for _, p := range []*process{svc, note, work[0], work[1], sched, watch} {
		p.stop()
	}
	b.stop()
	synctest.Wait()
	log.check(t, s, days)
}

// service holds every secret of the site, as a process would.
func (s *site) service(name string) func(context.Context, *nats.Conn) error {
	return func(ctx context.Context, nc *nats.Conn) error {
		var ids []secret.ID
		for _, spec := range s.specs {
			ids = append(ids, spec.ID)
		}
		m, err := client.New(ctx, client.Config{
			Service: name, Instance: "one", Source: s.catalog(nc).source, IDs: ids, Bus: s.bus(nc, name),
			Lease: 2 * time.Hour, PollInterval: 6 * time.Hour, Logger: s.log,
		})
		if err != nil {
			return err
		}
		<-ctx.Done()
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return m.Close(closing)
	}
}

// travelLog is every event of the journey.
type travelLog struct {
	mu  sync.Mutex
	all []events.Event
}

func (l *travelLog) watch(s *site) func(context.Context, *nats.Conn) error {
	return func(ctx context.Context, nc *nats.Conn) error {
		types := []events.Type{events.TypeRotated, events.TypeRollout, events.TypeRotationFailed}
		return s.bus(nc, "watch").WatchLog(ctx, types, func(_ context.Context, a events.Announcement) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			if !slices.ContainsFunc(l.all, func(e events.Event) bool { return e.ID == a.Event.ID }) {
				l.all = append(l.all, a.Event)
			}
			return nil
		}, nil)
	}
}

func (l *travelLog) check(t *testing.T, s *site, days int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, spec := range s.specs {
		var last events.Data
		rotations := 0
		retired := map[secret.VersionID]bool{}
		for _, e := range l.all {
			d := e.Data
			if d.SecretID != spec.ID {
				continue
			}
			switch {
			case e.Type == events.TypeRotationFailed:
				t.Errorf("%s: a rotation failed: %s", spec.ID, d.Failure.Message)
			case e.Type == events.TypeRollout && d.Rollout.State == events.RolloutRetired:
				retired[d.VersionID] = true
			case e.Type == events.TypeRollout && d.Rollout.State == events.RolloutStalled:
				t.Errorf("%s: the rollout of %s stalled: %v", spec.ID, d.VersionID, d.Rollout.Blocking)
			case e.Type == events.TypeRotated:
				if last.VersionID != "" {
					rotations++
					l.rotated(t, spec, last, e)
					if before := last.PreviousVersionID; before != "" && !retired[last.VersionID] {
						t.Errorf("%s: %s was replaced while the version before it was not retired", spec.ID, last.VersionID)
					}
				}
				last = d
			}
		}
		if least := days * 24 / int(spec.TTL/time.Hour); rotations < least {
			t.Errorf("%s: %d rotations in %d days, want at least %d", spec.ID, rotations, days, least)
		}
		t.Logf("%s: %d rotations in %d days", spec.ID, rotations, days)
	}
}

// rotated checks one rotation of the journey.
func (l *travelLog) rotated(t *testing.T, spec secret.Spec, last events.Data, e events.Event) {
	t.Helper()
	if e.Data.PreviousVersionID != last.VersionID {
		t.Errorf("%s: %s follows %s, want %s", spec.ID, e.Data.VersionID, e.Data.PreviousVersionID, last.VersionID)
	}
	if e.Time.After(last.NotAfter) {
		t.Errorf("%s: rotated at %s, %s after the end of the version before", spec.ID, e.Time, e.Time.Sub(last.NotAfter))
	}
	if len(spec.Windows) > 0 && !slices.ContainsFunc(spec.Windows, func(w secret.Window) bool { return w.Contains(e.Time) }) {
		t.Errorf("%s: rotated at %s, outside of its window", spec.ID, e.Time)
	}
}
