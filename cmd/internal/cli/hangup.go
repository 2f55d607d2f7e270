package cli

import (
	"os"
	"os/signal"
	"syscall"
)

// IgnoreBrokenPipes has a program that runs for long go on when what reads its log ends:
// a write then fails, where it would have ended the process.
func IgnoreBrokenPipes() { signal.Ignore(syscall.SIGPIPE) }

// Hangups returns where SIGHUP arrives, which does not end the process from now on.
// Several that are not read yet are one.
func Hangups() (<-chan os.Signal, func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	return hangup, func() { signal.Stop(hangup) }
}
