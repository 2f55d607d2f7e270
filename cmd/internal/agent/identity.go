//go:build unix

package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"github.com/tradepulse/rotator/pkg/events"
)

// identity returns the instance and the incarnation of what uses a file: the same for
// every agent that keeps this file on this host, so that the next one takes over the
// records of the one before.
func identity(service, path string) (instance, incarnation string) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	machine, _ := os.ReadFile("/etc/machine-id") // the name of the host has to do where there is none
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{host, strings.TrimSpace(string(machine)), service, path}, "\x00")))
	id := hex.EncodeToString(sum[:16])
	return token(host) + "-" + id[:8], "agent-" + id
}

// token makes one subject token of a name.
func token(name string) string {
	name = strings.Map(func(r rune) rune {
		if events.ValidToken(string(r)) != nil {
			return '-'
		}
		return r
	}, name)
	return name[:min(len(name), 30)]
}
