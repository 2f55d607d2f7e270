package config

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/tradepulse/rotator/pkg/settings"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/awssm"
	"github.com/tradepulse/rotator/pkg/store/env"
	"github.com/tradepulse/rotator/pkg/store/natskv"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

// Store is one store of secrets. Its type decides what other keys it has.
type Store struct {
	// Options is what the type has to be told: [*NATSKV], [*AWS], [*Vault] or
	// [*Env].
	Options StoreOptions
}

// StoreOptions are the settings of one type of store.
type StoreOptions interface {
	// Type is the word for it in the configuration.
	Type() string
	// Features are what a store of the type can do.
	Features() store.Features
}

// These are implemented by types that have such settings or rules.
type (
	discovering interface{ discovery() *Discover }
	normalizing interface{ normalPath(path string) string }
	// reading returns the environment variables that hold a secret of the store.
	reading interface{ variables(s Secret) []string }
	// checking is what the schema cannot see; at is the location of the store.
	checking interface {
		check(k *checker, name string, at []string)
	}
)

// Features returns what the store can do, none for one without a valid type.
func (s Store) Features() store.Features {
	if s.Options == nil {
		return store.Features{}
	}
	return s.Options.Features()
}

// With returns the names of the stores whose features satisfy has, in order.
func (c *Config) With(has func(store.Features) bool) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(c.Stores)) {
		if has(c.Stores[name].Features()) {
			names = append(names, name)
		}
	}
	return names
}

// StoresOf returns the settings of the stores of one type, by their names. It is
// for a program that opens this type and no other; what a store can do is in its
// features.
func StoresOf[T StoreOptions](c *Config) map[string]T {
	out := map[string]T{}
	for name, s := range c.Stores {
		if o, ok := s.Options.(T); ok {
			out[name] = o
		}
	}
	return out
}

// NATSKV is a store in a JetStream key-value bucket of the bus. Its values are
// sealed before they leave the program.
type NATSKV struct {
	// Name of the bucket, under the prefix of the bus.
	Bucket string `json:"bucket,omitzero" default:"secrets" jsonschema:"format=token"`
	// Copies that the cluster keeps of the bucket. Without it as many as
	// nats.replicas.
	Replicas int `json:"replicas,omitzero" jsonschema:"enum=1,enum=3,enum=5"`
	// The key that seals the values. Without it master.key in the data
	// directory, which a single node makes itself on its first start; with a
	// cluster it is required.
	MasterKey Ref `json:"master_key,omitzero"`
}

// Type returns natskv.
func (*NATSKV) Type() string { return "natskv" }

// Features implements [StoreOptions].
func (*NATSKV) Features() store.Features { return natskv.Features() }

// Env is the environment of the process, for development: the path of a secret
// is the name of a variable. It can be read only, so its secrets are never
// rotated.
type Env struct{}

// NormalPath returns the form of a path in which the store lists the secret, "" for
// a path that can name none: two paths name one secret if their normal forms are
// equal. What the region of an AWS store is that names none only the open store
// knows.
func (s Store) NormalPath(path string) string {
	if o, ok := s.Options.(normalizing); ok {
		return o.normalPath(path)
	}
	return path
}

// Type returns env.
func (*Env) Type() string { return "env" }

// Features implements [StoreOptions].
func (*Env) Features() store.Features { return env.Features() }

func (*Env) variables(s Secret) []string {
	return []string{s.Path, s.Path + "_TTL_SECONDS", s.ID + "_TTL_SECONDS"}
}

// AWS is AWS Secrets Manager in one account and region: the path of a secret is
// its name. Several accounts or regions are several stores.
type AWS struct {
	settings.AWS
	// Tags that a secret must have for the program to see it; one without a
	// value matches any. Secrets that the program makes get them.
	Tags map[string]string `json:"tags,omitzero"`
	// Which secrets are managed without being listed. Without it none is.
	Discover *Discover `json:"discover,omitzero"`
	// Most calls a second that write. AWS allows 50 to everybody in an account
	// and region together.
	WritesPerSecond int `json:"writes_per_second,omitzero" default:"40" jsonschema:"minimum=1,maximum=50"`
}

// Type returns aws.
func (*AWS) Type() string { return "aws" }

// Features implements [StoreOptions].
func (*AWS) Features() store.Features { return awssm.Features() }

func (o *AWS) discovery() *Discover { return o.Discover }

func (o *AWS) normalPath(path string) string {
	return awssm.NormalPath(path, o.Region, o.AssumeRole)
}

// Vault is a KV version 2 engine of Vault or OpenBao.
type Vault struct {
	settings.Vault
	// Which secrets are managed without being listed. Without it none is.
	Discover *Discover `json:"discover,omitzero"`
}

// Discover says which secrets of a store are managed without being listed:
// those that carry some tags. They also say by tags what is wanted of them.
type Discover struct {
	// Tags, or custom metadata, that such a secret carries, all of them; one
	// without a value matches any. Without it the tag rotator:managed.
	Match map[string]string `json:"match,omitzero" jsonschema:"maxProperties=20"`
	// What the path of such a secret begins with. Without it anything.
	Prefix string `json:"prefix,omitzero" jsonschema:"format=secret-id"`
	// What stands before the path in the id of a secret that does not name one
	// by the tag rotator:id. Two stores that have the same paths need it.
	IDPrefix string `json:"id_prefix,omitzero" jsonschema:"format=secret-id"`
}

// Type returns vault.
func (*Vault) Type() string { return "vault" }

// Features implements [StoreOptions].
func (*Vault) Features() store.Features { return vault.Features() }

func (o *Vault) discovery() *Discover { return o.Discover }

func (*Vault) normalPath(path string) string { return vault.NormalPath(path) }

// storeTypes returns empty options of every type, by its word. A new type of
// store is a struct above and a line here.
func storeTypes() map[string]StoreOptions {
	types := map[string]StoreOptions{}
	for _, o := range []StoreOptions{new(NATSKV), new(AWS), new(Vault), new(Env)} {
		types[o.Type()] = o
	}
	return types
}

// StoreTypes returns empty options of every type of store, in the order of
// their words.
func StoreTypes() []StoreOptions {
	types := storeTypes()
	out := make([]StoreOptions, 0, len(types))
	for _, name := range slices.Sorted(maps.Keys(types)) {
		out = append(out, types[name])
	}
	return out
}

// UnmarshalJSON decodes the options of the type that the object names. It does
// not mind keys that it does not know: the schema does.
func (s *Store) UnmarshalJSON(b []byte) error {
	var tag struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(b, &tag); err != nil {
		return err
	}
	o, ok := storeTypes()[tag.Type]
	if !ok {
		*s = Store{}
		return nil
	}
	s.Options = o
	return json.Unmarshal(b, o)
}

// MarshalJSON encodes the type and its options as one object.
func (s Store) MarshalJSON() ([]byte, error) {
	if s.Options == nil {
		return []byte("{}"), nil
	}
	b, err := json.Marshal(s.Options)
	if err != nil {
		return nil, err
	}
	return typedJSON(s.Options.Type(), b), nil
}

// Key returns where the key that seals the values is kept, and whether it is
// the one that the program makes for itself in its data directory.
func (o *NATSKV) Key(dataDir string) (ref Ref, own bool) {
	return ownKey(o.MasterKey, dataDir, masterKeyFile)
}
