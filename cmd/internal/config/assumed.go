package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/tradepulse/rotator/pkg/secret"
)

// placed are options of a store that has a default place.
type placed interface {
	// address is what the configuration says, else the environment.
	address(lookup func(string) (string, bool)) string
}

func (o *Vault) address(lookup func(string) (string, bool)) string {
	return cmp.Or(o.Address, variable(lookup, "BAO_ADDR", "VAULT_ADDR"))
}

// Assumed returns as warnings where stores are that neither the configuration nor the
// environment places. [Config.Warnings] does not contain it: a program that opens no store
// has a reason not to know.
func (c *Config) Assumed(file string, lookup func(string) (string, bool)) []Problem {
	var out []Problem
	for _, name := range slices.Sorted(maps.Keys(c.Stores)) {
		o, ok := c.Stores[name].Options.(placed)
		if !ok || o.address(lookup) != "" {
			continue
		}
		out = append(out, Problem{File: file, Finding: secret.Finding{
			Code: CodeMissing, Severity: secret.SeverityWarning, Subject: join("stores", name),
			Message: fmt.Sprintf("it has no address, and BAO_ADDR and VAULT_ADDR are not set here, so it is %s", vaultDefault),
			Remedy:  "set address, or the variable where rotator runs",
		}})
	}
	return out
}

// vaultDefault is where the client of Vault looks by itself.
const vaultDefault = "https://127.0.0.1:8200"
