package config

import (
	"encoding/json"
	"fmt"

	"github.com/goccy/go-yaml"
)

// Render returns a configuration as YAML that [Parse] reads back as the same
// one: with every default, with what the environment overrode, and with what
// the defaults section gave to each secret. Secrets are references in it, as
// they are everywhere.
func Render(c *Config) ([]byte, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("render configuration: %w", err)
	}
	out, err := yaml.JSONToYAML(b)
	if err != nil {
		return nil, fmt.Errorf("render configuration: %w", err)
	}
	return out, nil
}
