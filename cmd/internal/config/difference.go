package config

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// loadable are the sections that a program takes over while it runs.
var loadable = []string{"secrets", "policies", "services", "freeze", "defaults"}

// Difference says by name, and never by value, in what two configurations differ.
type Difference struct { //nolint:recvcheck // one method fills it in
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	// Changed are the secrets of which fields have changed.
	Changed []Change `json:"changed,omitempty"`
	// Sections are what else has changed and can be taken over, such as policies.strict.
	Sections []string `json:"sections,omitempty"`
	// Restart is what has changed and takes a restart, such as http.listen.
	Restart []string `json:"restart,omitempty"`
}

// Change is what has changed of one secret.
type Change struct {
	SecretID string   `json:"secret_id"`
	Fields   []string `json:"fields"`
}

// Loadable reports whether the difference has anything that takes no restart.
func (d Difference) Loadable() bool {
	return len(d.Added)+len(d.Removed)+len(d.Changed)+len(d.Sections) > 0
}

// IsZero reports whether there is no difference.
func (d Difference) IsZero() bool { return !d.Loadable() && len(d.Restart) == 0 }

// String names what differs in one line; "" for nothing.
func (d Difference) String() string {
	var out []string
	part := func(word string, names []string) {
		const most = 5
		if len(names) > most {
			names = append(slices.Clone(names[:most]), fmt.Sprintf("%d more", len(names)-most))
		}
		if len(names) > 0 {
			out = append(out, word+" "+strings.Join(names, ", "))
		}
	}
	changed := make([]string, len(d.Changed))
	for i, c := range d.Changed {
		changed[i] = c.SecretID + " (" + strings.Join(c.Fields, ", ") + ")"
	}
	part("added", d.Added)
	part("removed", d.Removed)
	part("changed", changed)
	part("changed sections", d.Sections)
	part("a restart is needed for", d.Restart)
	return strings.Join(out, "; ")
}

// Diff returns what has changed from one configuration to another.
func Diff(from, to *Config) Difference {
	var d Difference
	before, after := tree(from), tree(to)
	d.secrets(from.Secrets, to.Secrets)
	for _, section := range slices.Sorted(maps.Keys(union(before, after))) {
		names := differing(section, before[section], after[section])
		switch {
		case section == "secrets", section == "agent": // which no program that answers runs
		case slices.Contains(loadable, section):
			d.Sections = append(d.Sections, names...)
		default:
			d.Restart = append(d.Restart, names...)
		}
	}
	return d
}

// DiffAgent is Diff for an agent, which also runs the section agent.
func DiffAgent(from, to *Config) Difference {
	d := Diff(from, to)
	d.Sections = append(d.Sections, differing("agent", tree(from)["agent"], tree(to)["agent"])...)
	return d
}

// LoadedAgent is [Config.Loaded] for an agent.
func (c *Config) LoadedAgent(to *Config) *Config {
	next := c.Loaded(to)
	next.Agent = to.Agent
	return next
}

func (d *Difference) secrets(from, to []Secret) {
	before, after := byID(from), byID(to)
	for _, id := range slices.Sorted(maps.Keys(union(before, after))) {
		was, had := before[id]
		is, has := after[id]
		switch {
		case !had:
			d.Added = append(d.Added, id)
		case !has:
			d.Removed = append(d.Removed, id)
		case !reflect.DeepEqual(was, is):
			d.Changed = append(d.Changed, Change{id, changedKeys(tree(was), tree(is))})
		}
	}
}

func byID(secrets []Secret) map[string]Secret {
	out := make(map[string]Secret, len(secrets))
	for _, s := range secrets {
		out[s.ID] = s
	}
	return out
}

func union[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// changedKeys returns the keys whose values differ.
func changedKeys(a, b map[string]any) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(union(a, b))) {
		if !reflect.DeepEqual(a[key], b[key]) {
			out = append(out, key)
		}
	}
	return out
}

// differing returns the settings of a section that differ: the names one level below
// it, or its own.
func differing(section string, a, b any) []string {
	before, aok := a.(map[string]any)
	after, bok := b.(map[string]any)
	switch {
	case reflect.DeepEqual(a, b):
		return nil
	case !aok && a != nil || !bok && b != nil:
		return []string{section}
	}
	if before == nil {
		before = map[string]any{}
	}
	out := changedKeys(before, after)
	for i := range out {
		out[i] = section + "." + out[i]
	}
	return out
}

// tree returns v as JSON has it. What a program has read can be encoded.
func tree(v any) map[string]any {
	out := map[string]any{}
	b, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		panic("config: " + err.Error())
	}
	return out
}

// Loaded returns a configuration that has the loadable sections of to, and all else of
// c.
func (c *Config) Loaded(to *Config) *Config {
	next := *c
	next.Secrets, next.Policies, next.Services, next.Defaults = to.Secrets, to.Policies, to.Services, to.Defaults
	next.Freeze, next.freezes = to.Freeze, nil
	return &next
}

// Digest names the loadable sections of a configuration: it is the same in every
// program that runs the same secrets, whichever ports and credentials each has.
func (c *Config) Digest() string {
	all, part := tree(c), map[string]any{}
	for _, section := range loadable {
		part[section] = all[section]
	}
	b, err := json.Marshal(part) // with its keys in order
	if err != nil {
		panic("config: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
