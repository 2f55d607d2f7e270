package events_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

// A service hears of a rotation, and one that starts later reads of it.
func ExampleBus_Notify() {
	eventstest.Example(func(t testing.TB) {
		ctx := t.Context()
		bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
		heard := make(chan events.Delivery, 1)
		stop, err := bus.SubscribeNotify(ctx, "audit-api", func(_ context.Context, d events.Delivery) { heard <- d })
		if err != nil {
			panic(err)
		}
		defer stop()

		e := events.Rotated("/rotator/worker/host-1", time.Now(), events.Data{SecretID: "app/key", Store: "main", VersionID: "8", PreviousVersionID: "7", Reason: events.ReasonManual})
		if err := bus.Notify(ctx, "audit-api", e, 1); err != nil {
			panic(err)
		}
		d := <-heard
		fmt.Println(d.Event.Type, d.Event.Data.SecretID, d.Event.Data.VersionID)
		last, err := bus.LastNotified(ctx, "audit-api", "app/key")
		fmt.Println(last.Event.Data.VersionID, err)
	})
	// Output:
	// secret.rotated app/key 8
	// 8 <nil>
}

// The log of what happened has each version once.
func ExampleBus_PublishAfter() {
	eventstest.Example(func(t testing.TB) {
		ctx := t.Context()
		bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
		e := events.Rotated("/rotator/worker/host-1", time.Now(), events.Data{SecretID: "app/key", Store: "main", VersionID: "8", Reason: events.ReasonManual})
		_, err := bus.PublishAfter(ctx, e, 0)
		fmt.Println(err)
		another := events.Rotated("/rotator/worker/host-2", time.Now(), events.Data{SecretID: "app/key", Store: "main", VersionID: "9", Reason: events.ReasonManual})
		_, err = bus.PublishAfter(ctx, another, 0) // by a program that has not seen the one before
		fmt.Println(errors.Is(err, events.ErrConflict))
	})
	// Output:
	// <nil>
	// true
}

// A timer is in the server: it survives every process.
func ExampleBus_Arm() {
	eventstest.Example(func(t testing.TB) {
		ctx := t.Context()
		bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
		at := time.Now().Add(time.Hour)
		spec := secret.Spec{ID: "app/key", Store: "main"}
		e := events.NearExpiry("/rotator/scheduler/host-1", time.Now(), spec, secret.Metadata{Versions: []secret.Version{{ID: "7", Stage: secret.StageCurrent}}})
		for range 2 {
			changed, err := bus.Arm(ctx, e, at)
			fmt.Println(changed, err)
		}
		fmt.Println(bus.Disarm(ctx, events.TypeNearExpiry, "app/key"))
	})
	// Output:
	// true <nil>
	// false <nil>
	// <nil>
}

// Handlers tell by their error what becomes of an event.
func ExampleBus_Consume() {
	eventstest.Example(func(t testing.TB) {
		ctx, cancel := context.WithCancel(t.Context())
		bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
		e := events.Rotated("/rotator/worker/host-1", time.Now(), events.Data{SecretID: "app/key", Store: "main", VersionID: "8", Reason: events.ReasonManual})
		if err := bus.Publish(ctx, e); err != nil {
			panic(err)
		}
		err := bus.Consume(ctx, events.ConsumeConfig{Consumer: events.NotifierConsumer}, func(_ context.Context, d events.Delivery) error {
			fmt.Println(d.Event.Data.SecretID, d.Attempt)
			cancel() // one is enough
			return nil
		})
		fmt.Println(err)
	})
	// Output:
	// app/key 1
	// <nil>
}

// What an instance runs is a lease.
func ExampleBus_Report() {
	eventstest.Example(func(t testing.TB) {
		ctx := t.Context()
		bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
		r := events.Report{Service: "audit-api", Instance: "pod-1", StartedAt: time.Now(), At: time.Now(), Secrets: []events.Running{
			{SecretID: "app/key", VersionID: "7", Status: events.StatusFailed, Wanted: "8", Reason: "access denied", At: time.Now()},
		}}
		if err := bus.Report(ctx, r, 30*time.Second); err != nil {
			panic(err)
		}
		all, err := bus.Reports(ctx)
		if err != nil {
			panic(err)
		}
		for _, r := range all {
			fmt.Println(r.Service, r.Instance, r.Secrets[0].VersionID, r.Secrets[0].Status, r.Secrets[0].Reason)
		}
	})
	// Output: audit-api pod-1 7 failed access denied
}

func ExamplePermanent() {
	err := events.Permanent(errors.New("there is no such secret"))
	fmt.Println(err, events.IsPermanent(err))
	err = events.RetryAfter(errors.New("throttled"), time.Minute)
	d, ok := events.RetryDelay(err)
	fmt.Println(err, d, ok)
	// Output:
	// there is no such secret true
	// throttled 1m0s true
}

func ExampleNames() {
	n, err := events.NewNames("tradepulse.prod")
	if err != nil {
		panic(err)
	}
	fmt.Println(n.Notify("audit-api", secret.ID("prod/db").Key()))
	fmt.Println(n.Report("audit-api", "pod-1"))
	// Output:
	// tradepulse.prod.notify.audit-api.prod=2Fdb
	// tradepulse.prod.report.audit-api.pod-1
}

// Only what a trusted key has signed is believed.
func ExampleVerifier() {
	eventstest.Example(func(t testing.TB) {
		ctx := t.Context()
		server := eventstest.NewServer(t)
		bus := server.NewBus(events.StreamOptions{})
		stranger, err := events.GenerateSigner()
		if err != nil {
			panic(err)
		}
		e := events.Rotated("/stranger", time.Now(), events.Data{SecretID: "app/key", Store: "main", VersionID: "8", Reason: events.ReasonManual})
		if err := server.Bus(stranger, stranger).Notify(ctx, "audit-api", e, 1); err != nil {
			panic(err)
		}
		_, err = bus.LastNotified(ctx, "audit-api", "app/key")
		fmt.Println(errors.Is(err, events.ErrUntrusted))
	})
	// Output: true
}
