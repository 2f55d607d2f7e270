package config

import (
	"fmt"
	"os"
	"path/filepath"
)

// Files that a single node makes in its data directory.
const (
	signingKeyFile = "signing.key"
	masterKeyFile  = "master.key"
)

// DataDir returns the directory for what has to survive a restart: the one that
// is configured, else the one that systemd made, else the usual one for state
// of the operating system. It fails only when there is no home directory.
func (c *Config) DataDir(lookup func(string) (string, bool)) (string, error) {
	if c.Node.DataDir != "" {
		return c.Node.DataDir, nil
	}
	if dir, ok := lookup("STATE_DIRECTORY"); ok && dir != "" {
		// With several StateDirectory= entries systemd joins them by colons.
		return filepath.SplitList(dir)[0], nil
	}
	if os.Geteuid() == 0 {
		return "/var/lib/rotator", nil
	}
	if dir, ok := lookup("XDG_STATE_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "rotator"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%w: set node.data_dir, where a single node keeps its data", err)
	}
	return filepath.Join(home, ".local", "state", "rotator"), nil
}

// SigningKey returns where the key that signs events is kept, and whether it is
// the one that the program makes for itself in its data directory.
func (c *Config) SigningKey(dataDir string) (ref Ref, own bool) {
	return ownKey(c.Signing.Key, dataDir, signingKeyFile)
}

func ownKey(ref Ref, dataDir, name string) (Ref, bool) {
	if !ref.IsZero() {
		return ref, false
	}
	return Ref{File: filepath.Join(dataDir, name)}, true
}
