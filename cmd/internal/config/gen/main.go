// Command gen writes what is generated from the types of package config: the
// schema that the program embeds, its copy for editors, the reference, and the
// names of all variables for the Python client.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// root is the top of the repository, seen from this directory.
const root = "../../../.."

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	out, err := files()
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(out)) {
		if err := os.WriteFile(filepath.Join(root, name), out[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// files returns what is generated, by its name from the top of the repository.
func files() (map[string][]byte, error) {
	s, err := newSchema()
	if err != nil {
		return nil, err
	}
	text, err := s.encode()
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"cmd/internal/config/schema.json":                     text,
		"docs/reference/config.schema.json":                   text,
		"docs/reference/config.md":                            markdown(s),
		"clients/python/src/tradepulse_rotator/_variables.py": python(),
	}, nil
}
