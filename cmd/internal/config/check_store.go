package config

import (
	"strings"

	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/vault"
)

func eventful(f store.Features) bool { return f.EventSource == eventbridge.SecretsManager }

// stateful are options of a store that keeps pending versions beside its secrets.
type stateful interface{ amongStates(path string) bool }

// amongStates reports whether a path, within the prefix of the store, is where it keeps
// pending versions.
func (o *Vault) amongStates(path string) bool {
	states, full := vault.NormalPath(o.StatePrefix), vault.NormalPath(o.Prefix+"/"+path)
	return states != "" && (full == states || strings.HasPrefix(full, states+"/"))
}

func (o *Vault) check(k *checker, _ string, at []string) {
	if o.amongStates("") {
		k.report(append(at, "prefix"), "it is that of pending versions (state_prefix)", "give each its own")
	}
	at = append(at, "auth")
	if !k.whole(at...) {
		return
	}
	if _, err := o.Auth.Complete(k.lookup); err != nil {
		k.report(at, err.Error(), "add what is missing, or choose another method")
	}
}

func (o *NATSKV) check(k *checker, name string, at []string) {
	if k.cfg.SingleNode() && o.Replicas > 1 && k.whole("nats") {
		k.report(append(at, "replicas"), "a single node keeps one copy", "remove it, or set nats.url")
	}
	if !k.cfg.SingleNode() && o.MasterKey.IsZero() && k.whole(at...) {
		k.report(at, "master_key is missing"+k.clusterBy(), "with a cluster every program that opens the store needs the same key: add master_key: {file: NAME}")
	}
	if first, ok := k.buckets[o.Bucket]; ok {
		k.report(append(at, "bucket"), "the store "+first+" has the same bucket", "give each its own")
	}
	k.buckets[o.Bucket] = name
}
