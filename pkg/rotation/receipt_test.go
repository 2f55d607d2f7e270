package rotation_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/rotation"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// noReceipts is a bus that stores no receipt while it fails.
type noReceipts struct {
	*events.Bus
	fails bool
}

func (b *noReceipts) RecordRetirement(ctx context.Context, r events.Receipt) error {
	if b.fails {
		return errors.New("the stream is full")
	}
	return b.Bus.RecordRetirement(ctx, r)
}

// receipts returns the receipts about ID, each of which has to be sealed and to allow
// what it says.
func (x retirement) receipts(t *testing.T) (out []events.Receipt, sealed []events.Sealed) {
	t.Helper()
	stored, err := x.bus.Receipts(t.Context(), "ID")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range stored {
		s, err := events.ParseSealed(text)
		if err != nil {
			t.Fatal(err)
		}
		key, err := s.Key()
		if err != nil || !key.Equal(x.srv.Signer.Public()) {
			t.Fatalf("the receipt is signed by %v, %v", key, err)
		}
		var r events.Receipt
		if err := s.Open(events.SealedReceipt, &r); err != nil {
			t.Fatal(err)
		}
		if err := rollout.Replay(r); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
		out, sealed = append(out, r), append(sealed, s)
	}
	return out, sealed
}

// TestNothingIsDestroyedWithoutAReceipt: the target revokes, and the store retires,
// only once the receipt is stored.
func TestNothingIsDestroyedWithoutAReceipt(t *testing.T) {
	t.Parallel()
	bus := &noReceipts{fails: true}
	x := newRetirement(t, func(c *rotation.Config) {
		bus.Bus = c.Bus.(*events.Bus)
		c.Bus = bus
	})
	order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	x.log(t, order)
	x.probe.calls = nil
	err := x.retire(t, order)
	if _, later := events.RetryDelay(err); err == nil || !later || !strings.Contains(err.Error(), "the stream is full") {
		t.Errorf("retire: %v, want the error of the receipt and a later try", err)
	}
	if len(x.probe.calls) > 0 {
		t.Errorf("the target saw %v before the receipt was stored", x.probe.calls)
	}
	if _, _, err := x.st.Get(t.Context(), "ID", store.Selector{Version: x.v1}); err != nil {
		t.Errorf("the version before is gone: %v", err)
	}
	bus.fails = false
	x.retires(t, order)
	if all, _ := x.receipts(t); len(all) != 1 {
		t.Errorf("%d receipts, want 1", len(all))
	}
}

// TestARetirementHasOneReceipt: a retirement that is tried again has the receipt of
// the first try, and the next retirement names it.
func TestARetirementHasOneReceipt(t *testing.T) {
	t.Parallel()
	x := newRetirement(t, nil)
	past := time.Now().Add(-time.Minute)
	order := x.rollout(events.RolloutDraining, past)
	x.log(t, order)
	x.probe.refuses = "revoke " + string(x.v1) + " " + string(secret.StageRetired)
	for range 2 {
		if err := x.retire(t, order); err == nil {
			t.Fatal("retire: no error, the target refuses")
		}
	}
	x.probe.refuses = ""
	x.retires(t, order)
	if all, _ := x.receipts(t); len(all) != 1 || all[0].VersionID != x.v2 || !slices.Equal(all[0].Retired, []secret.VersionID{x.v1}) {
		t.Fatalf("receipts %+v, want one of %s that retires %s", all, x.v2, x.v1)
	}

	if err := x.rotate(t, x.v2); err != nil {
		t.Fatal(err)
	}
	x.v1, x.v2, x.started = x.v2, x.current(t), x.started.Add(time.Minute)
	x.runs(t, "one", x.v2)
	order = x.rollout(events.RolloutDraining, past)
	x.log(t, order)
	x.retires(t, order)
	all, sealed := x.receipts(t)
	if len(all) != 2 || all[0].Previous != nil || all[1].Previous == nil {
		t.Fatalf("receipts %+v, want two, of which the second names the first", all)
	}
	if first, err := sealed[0].Digest(); err != nil || all[1].Previous.SHA256 != first {
		t.Errorf("the second names %s, the first is %s, %v", all[1].Previous.SHA256, first, err)
	}
}

// TestWhatAReceiptSays: users by what their records said, the rules, the clocks, and
// no value.
func TestWhatAReceiptSays(t *testing.T) {
	t.Parallel()
	x := newRetirement(t, nil)
	_, val, err := x.st.Get(t.Context(), "ID", store.Selector{Version: x.v1})
	if err != nil {
		t.Fatal(err)
	}
	x.runs(t, "two", x.v1, func(_ *events.Use, p *events.Presence) { p.Ended = true })
	x.runs(t, "three", x.v1, briefly, refusing)
	x.silent(t, "three")
	order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	x.log(t, order)
	before := time.Now()
	x.retires(t, order)
	all, sealed := x.receipts(t)
	if len(all) != 1 {
		t.Fatalf("%d receipts, want 1", len(all))
	}
	r := all[0]
	states := map[string]string{}
	for _, u := range r.Users {
		states[u.Instance] = u.State
		if u.RenewedAt.IsZero() || u.State == "silent" && u.FenceEnd.IsZero() {
			t.Errorf("user %+v: no last renewal, or no end of its fence", u)
		}
	}
	if states["one"] != "live" || states["two"] != "ended" || states["three"] != "silent" {
		t.Errorf("states %v", states)
	}
	if r.Basis != events.BasisProof || r.Barrier.Seq == 0 || r.Barrier.At.IsZero() || r.DecidedAt.Before(before) || r.Rules.Fence != "1ns" || r.Worker != "/test" || r.State != events.RolloutDraining {
		t.Errorf("the receipt is %+v", r)
	}
	text, err := json.Marshal(sealed[0])
	if err != nil || bytes.Contains(text, val.Reveal()) {
		t.Errorf("%v, or the receipt holds the value", err)
	}
}

// TestAReceiptSaysThatAnotherProgramWritesTheSecret: that program may use the versions
// before, so the proof is a doubtful one.
func TestAReceiptSaysThatAnotherProgramWritesTheSecret(t *testing.T) {
	t.Parallel()
	x := retirement{rig: newRig(t, nil), started: time.Now().Add(-time.Hour)}
	w := store.Write{Token: secret.NewToken("ID", x.v1, "another program", 0), From: x.v1, Value: secret.NewValue([]byte("Written-By-Another-Program-0815!!"))}
	v, err := x.st.Put(t.Context(), "ID", w)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.st.Promote(t.Context(), "ID", x.v1, v.ID); err != nil {
		t.Fatal(err)
	}
	if err := x.rotate(t, x.v1); err != nil { // it finds the version, and announces it
		t.Fatal(err)
	}
	x.v2 = v.ID
	x.runs(t, "one", v.ID)
	order := x.rollout(events.RolloutDraining, time.Now().Add(-time.Minute))
	x.log(t, order)
	x.retires(t, order)
	if all, _ := x.receipts(t); len(all) != 1 || !strings.Contains(all[0].Foreign, "another program wrote") || !slices.Contains(all[0].Doubts, all[0].Foreign) {
		t.Errorf("the receipts say nothing of the other program: %+v", all)
	}
}
