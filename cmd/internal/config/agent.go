package config

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
)

// Agent is the program beside programs that have no client: it keeps secrets in
// files for them.
type Agent struct {
	// Service that the agent reports for, as secrets list it under services.
	Service string `json:"service,omitzero" jsonschema:"format=token"`
	// Fleet of the programs, as secrets list it under fleets.
	Fleet string `json:"fleet,omitzero" jsonschema:"format=token"`
	// How often the stores are asked although no event said that something has
	// changed.
	PollEvery Duration `json:"poll_every,omitzero" default:"5m"`
	// The files to keep.
	Files []AgentFile `json:"files,omitzero" jsonschema:"maxItems=1000"`
}

// AgentFile is a file that holds the current version of a secret and nothing
// else.
type AgentFile struct {
	// Secret that the file holds, one of those under secrets.
	ID string `json:"id" jsonschema:"required,format=secret-id"`
	// Name of the file. Its directory has to exist, and the agent has to be
	// allowed to write there.
	Path string `json:"path" jsonschema:"required,format=file"`
	// Permissions of the file, in octal.
	Mode string `json:"mode,omitzero" default:"0400" jsonschema:"format=file-mode"`
	// User that owns the file, by name or number. Without it the one that the
	// agent runs as.
	Owner string `json:"owner,omitzero" jsonschema:"minLength=1,maxLength=64"`
	// Group of the file, by name or number. Without it the one that the agent
	// runs as.
	Group string `json:"group,omitzero" jsonschema:"minLength=1,maxLength=64"`
	// The process to signal after the file has changed.
	Signal *AgentSignal `json:"signal,omitzero"`
	// The command to run after, or before, the file changes, in place of a signal.
	Command *AgentCommand `json:"command,omitzero"`
}

// AgentSignal is a signal to a process: pid_file or pid.
type AgentSignal struct {
	// The signal.
	Name string `json:"name,omitzero" default:"SIGHUP" jsonschema:"enum=SIGHUP,enum=SIGUSR1,enum=SIGUSR2,enum=SIGINT,enum=SIGTERM,enum=SIGQUIT"`
	// File with the number of the process, read before each signal.
	PIDFile string `json:"pid_file,omitzero" jsonschema:"format=file"`
	// Number of the process.
	PID int `json:"pid,omitzero" jsonschema:"minimum=1,maximum=4194304"`
}

// AgentCommand is a command that makes a program use the file. It is run
// without a shell, and the value is neither among its arguments nor in its
// environment.
type AgentCommand struct {
	// The program and its arguments.
	Argv []string `json:"argv" jsonschema:"required,minItems=1,maxItems=100"`
	// After this time it is killed, with what it has started, and counts as
	// failed.
	Timeout Duration `json:"timeout,omitzero" default:"30s"`
	// Run it before the file changes, with the new value in a temporary file that
	// ROTATOR_FILE names: for a command that has another program accept the value.
	Before bool `json:"before,omitzero"`
}

// FileMode returns the permissions of the file.
func (f AgentFile) FileMode() (fs.FileMode, error) { return parseMode(f.Mode) }

const (
	ownerReads  = 0o400
	othersRead  = 0o004
	othersWrite = 0o022
)

func parseMode(s string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(s, 8, 9)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s are no permissions", quote(s))
	case n&ownerReads == 0:
		return 0, errors.New("the owner could not read it")
	case n&othersWrite != 0:
		return 0, errors.New("others than the owner could write it")
	}
	return fs.FileMode(n), nil
}

func checkMode(s string) error {
	_, err := parseMode(s)
	return err
}
