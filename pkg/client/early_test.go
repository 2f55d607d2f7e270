package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// eager is a bus that delivers a notification as soon as it is subscribed to, and
// goes on while the secrets are loaded.
type eager struct {
	*events.Bus
	id   secret.ID
	done chan struct{}
}

func (b eager) SubscribeNotify(ctx context.Context, _ string, fn func(context.Context, events.Delivery)) (func(), error) {
	go func() {
		defer close(b.done)
		for range 200 {
			e := events.Rotated("/test", time.Now(), events.Data{SecretID: b.id, Store: "mem", VersionID: "v2", Reason: events.ReasonManual})
			fn(ctx, events.Delivery{Event: e, Seq: 1})
		}
	}()
	return func() {}, nil
}

// TestANotificationMayComeBeforeTheFirstVersion: a service subscribes before it
// reads, so that it misses nothing in between.
func TestANotificationMayComeBeforeTheFirstVersion(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	b := eager{r.bus, key, make(chan struct{})}
	m := r.manager(func(c *client.Config) { c.Bus = b })
	<-b.done
	if got := value(m.Secret(key).Get()); got != "first-value" {
		t.Errorf("got %s", got)
	}
}
