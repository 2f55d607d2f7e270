package rotation

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// TestARequestCrossesTheBus: every field of a request is in its event, and an
// event of the scheduler carries no field of a requester.
func TestARequestCrossesTheBus(t *testing.T) {
	t.Parallel()
	at := time.Now().UTC()
	q := Request{
		Secret: "ID", Store: "main", From: "v1", NotAfter: at.Add(time.Hour), Reason: events.ReasonManual, At: at,
		By: "alice", Ticket: "OPS-7", Priority: events.PriorityEmergency, Token: "v2",
	}
	bus := eventstest.NewServer(t).NewBus(events.StreamOptions{Memory: true})
	if _, err := bus.Arm(t.Context(), q.Event("/test"), at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	timer, err := bus.Timer(t.Context(), events.TypeNearExpiry, "ID")
	if err != nil {
		t.Fatal(err)
	}
	if got := requestOf(timer.Event.Data); got != q {
		t.Errorf("got %+v, want %+v", got, q)
	}
	q.By, q.Ticket, q.Priority = "", "", ""
	if r := q.Event("/test").Data.Request; r != nil {
		t.Errorf("the event has a requester: %+v", r)
	}
}

// TestASecondRequestIsAnotherEvent: the bus drops an event whose ID it has seen.
func TestASecondRequestIsAnotherEvent(t *testing.T) {
	t.Parallel()
	q := Request{Secret: "ID", From: "v1", Reason: events.ReasonManual, At: time.Now()}
	first := q.Event("/test")
	if again := q.Event("/test"); again.ID != first.ID {
		t.Error("one request has two IDs")
	}
	q.At = q.At.Add(time.Millisecond)
	if q.Event("/test").ID == first.ID {
		t.Error("two requests have one ID")
	}
}
