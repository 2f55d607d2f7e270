//go:build !race

package faketime_test

import (
	"os"
	"testing"

	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// TestMain starts the clock that servers share outside of any bubble of fake time.
func TestMain(m *testing.M) {
	stop := eventstest.StartClock()
	code := m.Run()
	stop()
	os.Exit(code)
}
