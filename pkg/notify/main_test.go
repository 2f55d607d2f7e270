package notify

import (
	"fmt"
	"os"
	"testing"

	"github.com/nats-io/nats-server/v2/server/ats" //nolint:depguard // the clock of the server that eventstest starts
	"go.uber.org/goleak"
)

// TestMain starts the server's clock outside of every synctest bubble: it lives
// as long as the process.
func TestMain(m *testing.M) {
	ats.Register()
	code := m.Run()
	ats.Unregister()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
