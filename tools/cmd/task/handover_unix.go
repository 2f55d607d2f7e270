//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// handOver replaces this process, so that signals, the terminal and the exit code are those of the command itself.
func handOver(argv []string) error {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("find go: %w", err)
	}
	if err := syscall.Exec(path, argv, os.Environ()); err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	return nil
}
