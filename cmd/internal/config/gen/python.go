package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/settings"
)

// python returns the module that tells the Python client every variable there is.
func python() []byte {
	services := settings.ServiceVariables()
	var programs []string
	for _, o := range config.Overrides() {
		if !slices.Contains(services, o.Env) {
			programs = append(programs, o.Env)
		}
	}
	var b strings.Builder
	fmt.Fprint(&b, `"""Every variable that is a setting. Generated from pkg/settings and cmd/internal/config: change them and run go generate."""

from typing import Final
`)
	for _, list := range []struct {
		name, doc string
		names     []string
	}{
		{"SERVICES", "The settings of a service.", services},
		{"PROGRAMS", "The settings of rotator and notifier that are none of a service.", programs},
	} {
		fmt.Fprintf(&b, "\n%s: Final = (\n", list.name)
		for _, name := range slices.Sorted(slices.Values(list.names)) {
			fmt.Fprintf(&b, "    %q,\n", name)
		}
		fmt.Fprintf(&b, ")\n\"\"\"%s\"\"\"\n", list.doc)
	}
	return []byte(b.String())
}
