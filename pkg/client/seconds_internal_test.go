package client

import (
	"testing"
	"time"
)

func TestSecondsOnRecordAreRoundedUp(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]int{0: 0, time.Millisecond: 1, time.Second: 1, 1500 * time.Millisecond: 2, time.Hour: 3600} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("%s is on record as %d s, want %d", d, got, want)
		}
	}
}
