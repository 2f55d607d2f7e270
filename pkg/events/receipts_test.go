package events_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/secret"
)

func receipt(v secret.VersionID, started time.Time) events.Receipt {
	return events.Receipt{SecretID: "ID", VersionID: v, Retired: []secret.VersionID{"v0"}, StartedAt: started}
}

// TestReceiptsAreAChain: one for each retirement, each of which names the one before.
func TestReceiptsAreAChain(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	at := time.Now()
	for _, r := range []events.Receipt{receipt("v1", at), receipt("v1", at), receipt("v2", at), receipt("v1", at.Add(time.Hour)), receipt("v1", at.Add(time.Hour))} {
		if err := b.RecordRetirement(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	other := receipt("v1", at)
	other.SecretID = "OTHER"
	if err := b.RecordRetirement(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	all, err := b.Receipts(t.Context(), "ID")
	if err != nil || len(all) != 3 {
		t.Fatalf("%d receipts, %v, want 3", len(all), err)
	}
	before := ""
	for i, text := range all {
		s, err := events.ParseSealed(text)
		if err != nil {
			t.Fatal(err)
		}
		var r events.Receipt
		if err := s.Open(events.SealedReceipt, &r); err != nil {
			t.Fatal(err)
		}
		if i == 0 != (r.Previous == nil) || r.Previous != nil && r.Previous.SHA256 != before {
			t.Errorf("receipt %d names %+v, want %q", i, r.Previous, before)
		}
		if before, err = s.Digest(); err != nil {
			t.Fatal(err)
		}
	}
	if none, err := b.Receipts(t.Context(), "NONE"); err != nil || none != nil {
		t.Errorf("receipts of a secret without any: %v, %v", none, err)
	}
}

// TestAForgedReceiptIsNotOurs: a record that no trusted key has sealed does not pass
// for the receipt of a retirement, and the receipt that follows names it.
func TestAForgedReceiptIsNotOurs(t *testing.T) {
	t.Parallel()
	stranger, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	forged, err := stranger.Seal(events.SealedReceipt, receipt("v1", at))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"signed by a stranger": text, "no receipt": []byte("yes")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := eventstest.NewServer(t)
			b := srv.NewBus(events.StreamOptions{})
			if _, err := srv.Connect().Request(b.Names().Retired("ID"), body, time.Minute); err != nil {
				t.Fatal(err)
			}
			if err := b.RecordRetirement(t.Context(), receipt("v1", at)); err != nil {
				t.Fatal(err)
			}
			all, err := b.Receipts(t.Context(), "ID")
			if err != nil || len(all) != 2 {
				t.Fatalf("%d records, %v, want the forged one and the receipt", len(all), err)
			}
			s, err := events.ParseSealed(all[1])
			if err != nil {
				t.Fatal(err)
			}
			var r events.Receipt
			if err := s.Open(events.SealedReceipt, &r); err != nil || r.Previous == nil || r.Previous.SHA256 == "" {
				t.Errorf("the receipt names %+v, %v", r.Previous, err)
			}
		})
	}
}

// TestOneOfTwoWorkersWritesTheReceipt: the loser is told, and finds it when it tries
// again.
func TestOneOfTwoWorkersWritesTheReceipt(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{})
	at := time.Now()
	done := make(chan error)
	const workers = 8
	for range workers {
		go func() {
			err := b.RecordRetirement(t.Context(), receipt("v1", at))
			for errors.Is(err, events.ErrConflict) {
				err = b.RecordRetirement(t.Context(), receipt("v1", at))
			}
			done <- err
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if all, err := b.Receipts(t.Context(), "ID"); err != nil || len(all) != 1 {
		t.Errorf("%d receipts, %v, want 1", len(all), err)
	}
}

// TestTheRetentionIsOfReceiptsAlone: a receipt runs out with the retention, and the
// confirmation of the stream of uses never does.
func TestTheRetentionIsOfReceiptsAlone(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{RecordRetention: 36 * time.Hour})
	if err := b.RecordRetirement(t.Context(), receipt("v1", time.Now())); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(srv.Connect())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), b.Names().RecordStream())
	if err != nil {
		t.Fatal(err)
	}
	for subject, want := range map[string]string{b.Names().Retired("ID"): "36h0m0s", b.Names().Confirmation(): ""} {
		m, err := s.GetLastMsgForSubject(t.Context(), subject)
		if err != nil || m.Header.Get(jetstream.MsgTTLHeader) != want {
			t.Errorf("%s: TTL %q, %v, want %q", subject, m.Header.Get(jetstream.MsgTTLHeader), err, want)
		}
	}
	if info := s.CachedInfo(); info.Config.MaxAge != 0 || info.Config.MaxBytes != -1 {
		t.Errorf("the stream has an age of %s and a bound of %d bytes", info.Config.MaxAge, info.Config.MaxBytes)
	}
}

// TestAFullRecordRefuses: no earlier record makes room for a receipt.
func TestAFullRecordRefuses(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	b := srv.NewBus(events.StreamOptions{RecordBytes: 1200})
	at := time.Now()
	var err error
	for n := 0; err == nil && n < 10; n++ {
		err = b.RecordRetirement(t.Context(), receipt("v1", at.Add(time.Duration(n))))
	}
	if !errors.Is(err, events.ErrFull) {
		t.Errorf("a full stream says %v, want ErrFull", err)
	}
	if since, last, err := b.Confirmed(t.Context()); err != nil || !since.Equal(last.Since) {
		t.Errorf("the confirmation of the stream of uses is %+v, %v", last, err)
	}
}

// TestWithoutAKeyNothingIsRecorded: a receipt is signed.
func TestWithoutAKeyNothingIsRecorded(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	srv.NewBus(events.StreamOptions{})
	if err := srv.Bus(nil, srv.Signer).RecordRetirement(t.Context(), receipt("v1", time.Now())); !errors.Is(err, events.ErrNoSigner) {
		t.Errorf("%v, want ErrNoSigner", err)
	}
}
