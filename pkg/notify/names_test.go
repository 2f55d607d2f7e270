package notify

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// TestALongNameIsOneInstance: a service may use any token of a subject for a name.
func TestALongNameIsOneInstance(t *testing.T) {
	t.Parallel()
	f := newFleet()
	called := strings.Repeat("a", 300)
	for i := range 1000 {
		f.apply(events.FleetEvent{
			Presence: &events.Presence{Service: "api", Instance: called, Incarnation: "x"}, Problem: "it is not understood", Seq: uint64(i + 1), At: time.Now(),
		}, time.Now(), func(secret.ID) {})
	}
	n := 0
	for who := range f.instances.all() {
		if n++; who.instance() != called || who.incarnation() != "x" {
			t.Errorf("instance %q, incarnation %q", who.instance(), who.incarnation())
		}
	}
	if n != 1 || f.instances.n != 1 {
		t.Errorf("%d instances, %d counted, want one", n, f.instances.n)
	}
	if size := unsafe.Sizeof(instance{}); size > 80 {
		t.Errorf("an instance takes %d bytes, want at most 80", size)
	}
}
