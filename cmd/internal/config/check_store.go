package config

import (
	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/store"
)

func eventful(f store.Features) bool { return f.EventSource == eventbridge.SecretsManager }

func (o *Vault) check(k *checker, _ string, at []string) {
	at = append(at, "auth")
	lacks := func(key string, there bool) {
		if !there && k.whole(at...) {
			k.report(at, key+" is missing", "the method "+o.Auth.Method+" needs it")
		}
	}
	switch a := o.Auth; a.Method {
	case "approle":
		lacks("role_id", a.RoleID != "")
		lacks("secret_id", !a.SecretID.IsZero())
	case "kubernetes":
		lacks("role", a.Role != "")
	case "jwt":
		lacks("role", a.Role != "")
		lacks("token_file", a.TokenFile != "")
	}
}

func (o *NATSKV) check(k *checker, name string, at []string) {
	if k.cfg.SingleNode() && o.Replicas > 1 && k.whole("nats") {
		k.report(append(at, "replicas"), "a single node keeps one copy", "remove it, or set nats.url")
	}
	if !k.cfg.SingleNode() && o.MasterKey.IsZero() && k.whole(at...) {
		k.report(at, "master_key is missing", "with a cluster every program that opens the store needs the same key: add master_key: {file: NAME}")
	}
	if first, ok := k.buckets[o.Bucket]; ok {
		k.report(append(at, "bucket"), "the store "+first+" has the same bucket", "give each its own")
	}
	k.buckets[o.Bucket] = name
}
