//go:build unix

package main

import (
	"os/exec"
	"syscall"
	"time"
)

// group makes the end of the command's context end its children too.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		children := -cmd.Process.Pid
		err := syscall.Kill(children, syscall.SIGINT)
		time.AfterFunc(cmd.WaitDelay/2, func() { _ = syscall.Kill(children, syscall.SIGKILL) })
		return err
	}
}
