//go:build !unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
)

// handOver runs the command as a child and ends with its exit code. Interrupts are left to the child, which shares
// the console.
func handOver(argv []string) error {
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	child := exec.CommandContext(context.Background(), argv[0], argv[1:]...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := child.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("run %s: %w", argv[0], err)
	}
	return nil
}
