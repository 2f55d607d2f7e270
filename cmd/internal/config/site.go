package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// sited are options of a store that may have the same secrets as another one: they name
// a server that others name as well. Both functions work on what is written; that two
// names are one server is not known here.
type sited interface {
	// server names the server with everything in which a path names one secret.
	server(lookup func(string) (string, bool)) string
	// full returns what a path of the store is there.
	full(path string) string
}

func (o *Vault) server(lookup func(string) (string, bool)) string {
	address := strings.Replace(strings.ToLower(strings.TrimRight(o.address(lookup), "/")), "//localhost", "//127.0.0.1", 1)
	namespace := cmp.Or(o.Namespace, variable(lookup, "BAO_NAMESPACE", "VAULT_NAMESPACE"))
	return strings.Join([]string{o.Type(), address, strings.Trim(namespace, "/"), strings.Trim(o.Mount, "/")}, " ")
}

func (o *Vault) full(path string) string {
	return strings.TrimLeft(o.normalPath(o.Prefix)+"/"+o.normalPath(path), "/")
}

func (o *AWS) server(lookup func(string) (string, bool)) string {
	region := cmp.Or(o.Region, variable(lookup, "AWS_REGION", "AWS_DEFAULT_REGION"))
	return strings.Join([]string{o.Type(), region, strings.TrimRight(o.Endpoint, "/"), cmp.Or(o.Profile, variable(lookup, "AWS_PROFILE")), o.AssumeRole}, " ")
}

func (o *AWS) full(path string) string { return o.normalPath(path) }

func (o *Env) server(func(string) (string, bool)) string { return o.Type() }

func (*Env) full(path string) string { return path }

// variable returns the first of the variables that is set.
func variable(lookup func(string) (string, bool), names ...string) string {
	for _, name := range names {
		if text, _ := lookup(name); strings.TrimSpace(text) != "" {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// site is where a secret is. Two that are equal are one secret.
type site struct{ server, path string }

// site returns where a store has the secret of a path. A store that is alone on its
// server is a server of its own.
func (k *checker) site(name, path string) site {
	st := k.cfg.Stores[name]
	if o, ok := st.Options.(sited); ok {
		return site{o.server(k.lookup), o.full(path)}
	}
	return site{name, st.NormalPath(path)}
}

// shared checks that no store discovers what another one discovers, and warns where it
// covers what another one lists: whether that has the tags is not known here.
func (k *checker) shared() {
	names := slices.Sorted(maps.Keys(k.cfg.Stores))
	for i, name := range names {
		found := k.cfg.Stores[name].discover()
		if found == nil {
			continue
		}
		at, here := []string{"stores", name, "discover"}, k.site(name, found.Prefix)
		for _, other := range names[:i] {
			there := k.site(other, "")
			if d := k.cfg.Stores[other].discover(); d != nil && there.server == here.server && overlap(here.path, k.site(other, d.Prefix).path) {
				k.report(at, "the store "+other+" discovers the same secrets", "remove one, or give each a prefix of its own: two would rotate a secret in turns")
			}
		}
		for j, s := range k.cfg.Secrets {
			there := k.site(s.Store, s.Path)
			if s.Store != name && there.server == here.server && strings.HasPrefix(there.path, here.path) {
				k.warn(at, fmt.Sprintf("it covers secrets[%d] of the store %s, which is the same server: both would rotate that secret if it has the tags", j, s.Store),
					"list it under this store, or set a prefix")
				break
			}
		}
	}
}

// overlap reports whether a path can begin with both prefixes.
func overlap(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }
