package integration

import (
	"fmt"
	"os"
	"testing"

	"github.com/tradepulse/rotator/internal/waittest"
)

// TestAnAgentReloadsAtSIGHUP: the agent takes over what its file says of the files that
// it keeps, goes on as before with a file that is wrong, and its program counts as one.
func TestAnAgentReloadsAtSIGHUP(t *testing.T) {
	t.Parallel()
	s := newAgentSite(t, "")
	a := s.agent(t)
	waittest.Until(t, "the agent is ready", func() error { return get(t, "http://"+s.agentHealth+"/readyz", nil) })
	mode := func(want os.FileMode) func() error {
		return func() error {
			if fi, err := os.Stat(s.file("key")); err != nil || fi.Mode().Perm() != want {
				return fmt.Errorf("%v, %w", fi, err)
			}
			return nil
		}
	}
	waittest.Until(t, "the file is there", mode(0o440))
	edit(t, s.cfg, `mode: "0440"`, `mode: "0400", owner: no-such-user`)
	hangUp(t, a)
	waittest.Until(t, "the file of a user that does not exist is rejected", printed(a, `"msg":"config.rejected"`))
	s.rotate(t)
	s.applied(t)
	waittest.Until(t, "it goes on as before", mode(0o440))
	edit(t, s.cfg, `, owner: no-such-user`, ``)
	hangUp(t, a)
	waittest.Until(t, "the change is loaded", printed(a, `"changes":"changed sections agent.files"`))
	if out, errs, code := piped(t, "", "rotate", handed, "--again", "--config", s.cfg); code != 0 {
		t.Errorf("rotate: exit %d: %s%s", code, out, errs)
	}
	s.applied(t)
	waittest.Until(t, "the file has the new mode", mode(0o400))
	if code := a.drain(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
