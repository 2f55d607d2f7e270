package rotation_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/storetest"
)

// TestRetireLooksForItself: who asks for a retirement proves nothing. The
// previous version lives until its time has come and everybody runs the next.
func TestRetireLooksForItself(t *testing.T) {
	t.Parallel()
	quiet := slog.New(slog.DiscardHandler)
	bus := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	st, err := store.New("mem", storetest.NewMem(nil), &store.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := store.NewCatalog([]*store.Store{st}, []secret.Spec{{ID: "ID", Store: "mem", Services: []string{"api"}, Create: true}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := rotation.New(rotation.Config{Catalog: catalog, Bus: bus, Source: "/test", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	rotate := func(from secret.VersionID) secret.VersionID {
		if _, err := r.Rotate(t.Context(), events.Data{SecretID: "ID", VersionID: from, Reason: events.ReasonManual}); err != nil {
			t.Fatal(err)
		}
		m, err := st.Describe(t.Context(), "ID")
		if err != nil {
			t.Fatal(err)
		}
		return m.Current().ID
	}
	v1 := rotate("")
	v2 := rotate(v1)

	order := func(retireAt time.Time) events.Data {
		return events.Data{
			SecretID: "ID", Store: "mem", VersionID: v2, PreviousVersionID: v1, Reason: events.ReasonManual, OccurredAt: time.Now(),
			Rollout: &events.Rollout{State: events.RolloutConverged, RetireAt: retireAt},
		}
	}
	report := func(v secret.VersionID) {
		rep := events.Report{Service: "api", Instance: "one", At: time.Now(), Secrets: []events.Running{{SecretID: "ID", VersionID: v, Status: events.StatusApplied}}}
		if err := bus.Report(t.Context(), rep, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	announce := func(d events.Data) {
		last, err := bus.Last(t.Context(), events.TypeRollout, "ID")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := bus.PublishAfter(t.Context(), events.RolloutChanged("/test", d), last.Seq); err != nil {
			t.Fatal(err)
		}
	}
	blocked := func(why string, order events.Data) {
		t.Helper()
		err := r.Retire(t.Context(), order)
		if _, later := events.RetryDelay(err); !errors.Is(err, rotation.ErrBlocked) || !later {
			t.Errorf("%s: err %v, want a later try", why, err)
		}
		if _, _, err := st.Get(t.Context(), "ID", store.Selector{Version: v1}); err != nil {
			t.Fatalf("%s: %v", why, err)
		}
	}

	past, future := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	report(v1)
	blocked("an instance runs the old version", order(past))
	report(v2)
	blocked("the order itself says later", order(future))
	announce(order(future))
	blocked("the log says later than the order", order(past))
	announce(order(past))
	if err := r.Retire(t.Context(), order(past)); err != nil {
		t.Fatal(err)
	}
	m, err := st.Describe(t.Context(), "ID")
	if err != nil {
		t.Fatal(err)
	}
	if old, err := (store.Selector{Version: v1}).Find(m); err == nil && old.Stage != secret.StageRetired {
		t.Errorf("the old version is %s", old.Stage)
	}
}
