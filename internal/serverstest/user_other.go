//go:build !unix

package serverstest

import (
	"os/exec"
	"testing"
)

func unprivileged(*exec.Cmd) {}

func own(testing.TB, string) {}
