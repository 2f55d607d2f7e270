// Command task is what `go tool task` runs: it starts the pinned go-task with the arguments it was given.
//
// go-task has a module graph larger than the product's. A tool line for it in the product's go.mod, or a workspace with
// it, would choose the versions that the product is built with. So the tool line names this program, which imports only
// the standard library, and go-task keeps its own go.mod in tools/task.
//
// It does not interpret arguments, and it does not decide the version: tools/task/go.mod does.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const module = "tools/task/go.mod"

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "task:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	// The go command refuses -modfile inside a workspace, such as one of the developer's own.
	if err := os.Setenv("GOWORK", "off"); err != nil {
		return fmt.Errorf("leave workspace: %w", err)
	}
	modfile, err := toolModule(ctx)
	if err != nil {
		return err
	}
	return handOver(append([]string{"go", "tool", "-modfile=" + modfile, "task"}, args...))
}

// toolModule finds go-task's go.mod from any folder of the repository.
func toolModule(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find repository: %w", err)
	}
	root := filepath.Dir(string(bytes.TrimSpace(out)))
	path := filepath.Join(root, filepath.FromSlash(module))
	if _, err := os.Stat(path); err != nil {
		return "", errors.New("run it inside the repository: no " + module + " found")
	}
	return path, nil
}
