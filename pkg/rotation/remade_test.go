package rotation_test

import (
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestAnOrderIsAboutOneIncarnation: a secret is deleted and made anew, and has the
// same version id again. A manual order about the secret before does not rotate it.
func TestAnOrderIsAboutOneIncarnation(t *testing.T) {
	t.Parallel()
	x := newRig(t, nil)
	order := func() events.Delivery {
		m, err := x.st.Describe(t.Context(), "ID")
		q, err := rotation.Manual(time.Now(), "someone", x.spec, m, err)
		if err != nil {
			t.Fatal(err)
		}
		return events.Delivery{Event: q.Event("/test")}
	}
	var orders []events.Delivery
	for range 2 { // the first incarnation of a memory has no name
		x.mem.Delete("ID")
		if err := x.rotate(t, ""); err != nil {
			t.Fatal(err)
		}
		orders = append(orders, order())
	}
	before := x.current(t)
	if before != x.v1 {
		t.Fatalf("the version is %s, want %s again, or there is nothing to test", before, x.v1)
	}
	if err := x.r.Handle(t.Context(), orders[0]); err != nil {
		t.Fatal(err)
	}
	if v := x.current(t); v != before {
		t.Errorf("an order about the secret before has rotated to %s", v)
	}
	if err := x.r.Handle(t.Context(), orders[1]); err != nil {
		t.Fatal(err)
	}
	m, err := x.st.Describe(t.Context(), "ID")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Current().Token; got == x.spec.Token(x.v1, 0) || got != x.spec.TokenIn(m.Incarnation, x.v1, 0) {
		t.Errorf("the token %s of the next version is not that of the incarnation", got)
	}
}

// TestARotationOfAnEarlierVersionIsTakenUp: its pending version has a token without
// an incarnation.
func TestARotationOfAnEarlierVersionIsTakenUp(t *testing.T) {
	t.Parallel()
	x := newRig(t, nil)
	x.mem.Delete("ID")
	if err := x.rotate(t, ""); err != nil {
		t.Fatal(err)
	}
	w := store.Write{Token: x.spec.Token(x.current(t), 0), From: x.current(t), Value: secret.NewValue([]byte("Written-By-An-Earlier-Version-0815!!"))}
	if _, err := x.st.Put(t.Context(), "ID", w); err != nil {
		t.Fatal(err)
	}
	if err := x.rotate(t, x.current(t)); err != nil {
		t.Fatal(err)
	}
	if v := x.current(t); v != secret.VersionID(w.Token) {
		t.Errorf("current is %s, want the version %s that was pending", v, w.Token)
	}
}
