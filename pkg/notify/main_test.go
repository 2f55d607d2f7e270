package notify

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tradepulse/rotator/pkg/events/eventstest"
)

// TestMain starts the server's clock outside of every synctest bubble: it lives
// as long as the process.
func TestMain(m *testing.M) {
	stop := eventstest.StartClock()
	code := m.Run()
	stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
