package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
)

// discover returns what is discovered in a store, nil for nothing.
func (s Store) discover() *Discover {
	if o, ok := s.Options.(discovering); ok {
		return o.discovery()
	}
	return nil
}

// Discoveries returns what is discovered in each store that has such secrets.
func (c *Config) Discoveries() ([]*catalog.Discovery, error) {
	var out []*catalog.Discovery
	for _, name := range slices.Sorted(maps.Keys(c.Stores)) {
		found := c.Stores[name].discover()
		if found == nil {
			continue
		}
		defaults, err := c.spec(Secret{Settings: c.Defaults})
		if err != nil {
			return nil, fmt.Errorf("defaults: %w", err)
		}
		out = append(out, &catalog.Discovery{
			Store: name, Match: found.Match, Prefix: found.Prefix, IDPrefix: found.IDPrefix, Defaults: defaults, Policies: c.namedPolicies(),
		})
	}
	return out, nil
}

func (c *Config) namedPolicies() map[string]*secret.Policy {
	out := make(map[string]*secret.Policy, len(c.Policies))
	for name, p := range c.Policies {
		rules := p.policy()
		out[name] = &rules
	}
	return out
}

// complete fills in the tag that is looked for.
func (d *Discover) complete() {
	if d != nil && len(d.Match) == 0 {
		d.Match = map[string]string{catalog.TagManaged: ""}
	}
}

// discover checks what is looked for, and that the defaults are all right for a
// secret that says nothing itself.
func (k *checker) discover(name string, d *Discover) {
	if d == nil {
		return
	}
	at := []string{"stores", name, "discover"}
	for _, key := range slices.Sorted(maps.Keys(d.Match)) {
		if err := checkTag(key, d.Match[key]); err != nil {
			k.report(append(at, "match", key), err.Error(), "see docs/discovery.md for what a tag can be")
		}
		if key != catalog.TagManaged && strings.HasPrefix(key, "rotator:") {
			k.report(append(at, "match", key), "this tag says what is wanted of a secret, not whether it is managed", "use rotator:managed, or a tag of your own")
		}
	}
	k.lifetime([]string{"defaults"}, Secret{Settings: k.cfg.Defaults})
}

// What both AWS and Vault take.
const maxTagKey, maxTagValue = 128, 256

func checkTag(key, value string) error {
	switch {
	case key == "" || utf8.RuneCountInString(key) > maxTagKey:
		return fmt.Errorf("the name of a tag has 1 to %d characters", maxTagKey)
	case utf8.RuneCountInString(value) > maxTagValue:
		return fmt.Errorf("the value of a tag has at most %d characters", maxTagValue)
	case strings.ContainsFunc(key+value, func(r rune) bool { return r < ' ' }):
		return errors.New("a tag has no control characters")
	default:
		return nil
	}
}
