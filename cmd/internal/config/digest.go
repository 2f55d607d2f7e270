package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Digest returns a text that is equal for equal configurations, and short enough for
// people to compare. What is logged and served changes nothing about it.
func Digest(c *Config) string {
	work := *c
	work.Log, work.HTTP = Log{}, HTTP{}
	text, _ := json.Marshal(&work) // it was read from YAML
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}
