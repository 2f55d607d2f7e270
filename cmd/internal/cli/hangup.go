package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// Hangups returns where SIGHUP arrives, which does not end the process from now on.
// Several that are not read yet are one.
func Hangups() (<-chan os.Signal, func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	return hangup, func() { signal.Stop(hangup) }
}
