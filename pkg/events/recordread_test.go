package events_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// TestReadRecordsByTime: the first is included, the last is not, and nothing is lost
// between two ranges that meet.
func TestReadRecordsByTime(t *testing.T) {
	t.Parallel()
	b := eventstest.NewServer(t).NewBus(events.StreamOptions{})
	read := func(from, to time.Time) (out []events.StoredRecord) {
		err := b.ReadRecords(t.Context(), from, to, func(r events.StoredRecord) error {
			out = append(out, r)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for i := range 30 {
		if err := b.RecordAct(t.Context(), events.Act{SecretID: "DB", Kind: events.ActRead, By: "ada", Reason: fmt.Sprint(i), At: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	end := time.Now().Add(time.Hour)
	all := read(time.Time{}, end)
	if len(all) != 31 { // and the confirmation of the stream of uses
		t.Fatalf("%d records, want 31", len(all))
	}
	for i := range all {
		before, after := read(time.Time{}, all[i].At), read(all[i].At, end)
		if len(before)+len(after) != len(all) || len(after) == 0 || after[0].Seq > all[i].Seq || after[0].At.Before(all[i].At) {
			t.Fatalf("split at record %d: %d before and %d after", all[i].Seq, len(before), len(after))
		}
	}
	stop := errors.New("enough")
	if err := b.ReadRecords(t.Context(), time.Time{}, end, func(events.StoredRecord) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("the error of the callback became %v", err)
	}
}
