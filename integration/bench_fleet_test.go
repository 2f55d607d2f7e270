package integration

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	fleetSecrets  = 50 // of each service
	fleetReplicas = 20 // instances of each service
)

func fleetID(service, n int) secret.ID { return secret.ID(fmt.Sprintf("svc%d/secret-%d", service, n)) }

// publishAll publishes records without waiting for each.
func publishAll(b *testing.B, nc *nats.Conn, each func(put func(subject string, record any))) {
	b.Helper()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4000))
	if err != nil {
		b.Fatal(err)
	}
	each(func(subject string, record any) {
		body, err := json.Marshal(record)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := js.PublishMsgAsync(&nats.Msg{Subject: subject, Data: body}, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	})
	<-js.PublishAsyncComplete()
}

// BenchmarkFleetOfOneSecret reads the users of one secret, of which a service of
// 20 instances uses 50, in fleets of several sizes; and in the same run all reports
// of a fleet whose clients are older, which is what a retirement read before.
func BenchmarkFleetOfOneSecret(b *testing.B) {
	for _, instances := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(instances, " instances"), func(b *testing.B) {
			before := readReports(b, instances)
			bus := fleetOf(b, instances)
			for b.Loop() {
				f, err := bus.Fleet(b.Context(), fleetID(0, 7))
				if err != nil || len(f.Users) != fleetReplicas || f.Users[0].Problem != "" {
					b.Fatalf("%d users, err %v", len(f.Users), err)
				}
			}
			each := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(before.Microseconds())/1000, "reports-ms")
			b.ReportMetric(float64(before)/float64(each), "times-faster")
		})
	}
}

// fleetOf returns a bus with a fleet.
func fleetOf(b *testing.B, instances int) *events.Bus {
	b.Helper()
	srv := eventstest.NewServer(b)
	bus := srv.NewBus(events.StreamOptions{Memory: true})
	publishAll(b, srv.Connect(), func(put func(string, any)) {
		for i := range instances {
			service, instance := fmt.Sprint("svc", i/fleetReplicas), fmt.Sprint("i", i)
			for n := range fleetSecrets {
				u := events.Use{
					Running: events.Running{SecretID: fleetID(i/fleetReplicas, n), VersionID: "4ad6c2b5-8c4e-4c1f-9a26-4fc0d2a3a9f1", Status: events.StatusApplied, At: time.Now()},
					Service: service, Instance: instance, Incarnation: instance, PastFence: events.PastFenceRefuse, Fence: 3600, Joined: true,
				}
				put(bus.Names().Use(u.SecretID.Key(), service, instance), u)
			}
			put(bus.Names().Presence(service, instance, instance), events.Presence{Service: service, Instance: instance, Incarnation: instance, StartedAt: time.Now(), At: time.Now(), Lease: 30})
		}
	})
	return bus
}

// readReports returns how long it takes to read the reports of a fleet.
func readReports(b *testing.B, instances int) time.Duration {
	b.Helper()
	srv := eventstest.NewServer(b)
	defer srv.Stop()
	bus := srv.NewBus(events.StreamOptions{Memory: true})
	publishAll(b, srv.Connect(), func(put func(string, any)) {
		for i := range instances {
			r := events.Report{Service: fmt.Sprint("svc", i/fleetReplicas), Instance: fmt.Sprint("i", i), StartedAt: time.Now(), At: time.Now()}
			for n := range fleetSecrets {
				r.Secrets = append(r.Secrets, events.Running{SecretID: fleetID(i/fleetReplicas, n), VersionID: "4ad6c2b5-8c4e-4c1f-9a26-4fc0d2a3a9f1", Status: events.StatusApplied, At: time.Now()})
			}
			put(bus.Names().Report(r.Service, r.Instance), r)
		}
	})
	begin := time.Now()
	all, err := bus.Reports(b.Context())
	if err != nil || len(all) != instances {
		b.Fatalf("%d reports, err %v", len(all), err)
	}
	return time.Since(begin)
}
