// Package vault is a driver of pkg/store for the KV version 2 engine of Vault and
// OpenBao.
//
// # Versions and stages
//
// The path of a secret holds current versions and nothing else, so that readers
// which take the newest version (Vault Agent, the operators for Kubernetes)
// never see one that is pending. The id of a version is its number in the
// engine; current is the newest, previous the one before it.
//
// A pending version waits in a document of its own, the state, under
// Config.StatePrefix in the same mount. It was written for one current version
// N and can become N+1 only: promoting it is a write with the check-and-set
// parameter N, which the engine refuses after any other write. The id of
// a pending version is therefore known before it is written. The state is
// changed by check-and-set too, keeps one version (max_versions 1), and
// remembers the rotation tokens of the versions before.
//
// A rotation is six calls: read the metadata, read the state, write the state, read
// it again, write the secret, and read the state once more. The engine compares the
// number of the current version only, so a pending version that another process
// withdraws or replaces between the two reads around the write, some milliseconds,
// becomes current all the same: Promote then returns an error that says so.
//
// That the pending version became current is not recorded by
// another write: it is seen by comparing the two, and written down when the state is
// written next. Until then the state holds a copy of the current value, so its
// prefix needs the protection that the secrets have.
//
// # Values
//
// {"value": "…"} holds a value as text, {"value_base64": "…"} one that is not
// UTF-8. A secret with any other keys is a JSON document of these keys, and is
// written back as one.
//
// # What it does not do
//
// It does not use the Secrets Sync, databases or other engines, does not change
// custom_metadata, and cannot tell a secret whose metadata was deleted and made
// again from another one with the same version numbers: delete versions, not
// metadata, while something runs that uses the secret.
package vault
