package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"time"
)

// goTask runs a task of the Taskfile. Its end is requested with an interrupt,
// so that it can end its own processes; whatever is left of them is killed.
func goTask(ctx context.Context, w io.Writer, name string) error {
	return command(ctx, w, "go", "tool", "task", "--color=false", name)
}

func command(ctx context.Context, w io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "TESTFLAGS=-json")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, w, w
	cmd.WaitDelay = 10 * time.Second
	group(cmd)
	return cmd.Run()
}
